package lua

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShippedRulesDoWhatTheirFixturesSay(t *testing.T) {
	rules, err := filepath.Glob("../../scripts/*.lua")
	require.NoError(t, err)
	require.Len(t, rules, 3)
	for _, file := range rules {
		t.Run(filepath.Base(file), func(t *testing.T) {
			results, err := TestFile(strings.TrimSuffix(file, ".lua")+".test.json", Limits{})
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(results), 5)
			for _, r := range results {
				require.Empty(t, r.Problem, r.Name)
			}
		})
	}
}

func TestAFixtureThatIsNotMetSaysWhatDiffers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("r.lua", body(`if msg.text == "err" then error("no") end msg:reply("a") msg:tag("x")`))
	path := write("r.test.json", `{"cases": [
		{"name": "right", "event": {"message": {"text": "x"}}, "want": {"actions": [{"text": "a"}], "tags": ["x"]}},
		{"name": "wrong", "event": {"message": {"text": "x"}}, "want": {"actions": [{"text": "b"}], "tags": ["x"]}},
		{"name": "error", "event": {"message": {"text": "err"}}, "want": {"error": "no"}},
		{"name": "other error", "event": {"message": {"text": "err"}}, "want": {"error": "yes"}},
		{"name": "unexpected error", "event": {"message": {"text": "err"}}, "want": {}},
		{"name": "missing error", "event": {"message": {"text": "x"}}, "want": {"error": "no"}},
		{"name": "no match", "event": {"message": {"text": "x", "from_me": true}}, "want": {}}
	]}`)
	results, err := TestFile(path, Limits{})
	require.NoError(t, err)
	problems := map[string]string{}
	for _, r := range results {
		problems[r.Name] = r.Problem
	}
	require.Empty(t, problems["right"])
	require.Contains(t, problems["wrong"], `want {"actions":[{"kind":"reply","text":"b"}]`)
	require.Empty(t, problems["error"])
	require.Contains(t, problems["other error"], `want an error with "yes", got rule r: r.lua:2: no`)
	require.Contains(t, problems["unexpected error"], "r.lua:2: no")
	require.Equal(t, `want an error with "no", got none`, problems["missing error"])
	require.Empty(t, problems["no match"])

	_, err = TestFile(write("bad.test.json", `{"cases": [{"nam": "x"}]}`), Limits{})
	require.ErrorContains(t, err, `unknown field "nam"`)
	_, err = TestFile(write("empty.test.json", `{}`), Limits{})
	require.ErrorContains(t, err, "no cases")
	_, err = TestFile(write("gone.test.json", `{"cases": [{}]}`), Limits{})
	require.ErrorContains(t, err, "gone.lua")
}
