package lua

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// examples are the Lua blocks of the documents, by file.
func examples(t *testing.T) map[string][]string {
	block := regexp.MustCompile("(?s)( *)```lua\n(.*?)\n *```")
	out := map[string][]string{}
	for _, file := range []string{"../../scripts/README.md", "../../docs/rules.md"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, b := range block.FindAllStringSubmatch(string(text), -1) {
			out[file] = append(out[file], b[2])
		}
		require.NotEmpty(t, out[file], file)
	}
	return out
}

func TestEveryExampleInTheDocumentsLoads(t *testing.T) {
	for _, blocks := range examples(t) {
		for _, b := range blocks {
			set := load(t, b, Deps{})
			// The example must also run on a plain message.
			for _, text := range []string{"!order 7", "menu", "2", "urgent"} {
				if ev := message(text); set.Rules()[0].Match(ev) {
					_, err := eval(t, set, ev)
					require.NoError(t, err)
				}
			}
		}
	}
}

func TestTheDocumentsNameTheWholeAPI(t *testing.T) {
	text, err := os.ReadFile("../../scripts/README.md")
	require.NoError(t, err)
	for module, rows := range map[string][]row{
		"wildcat.": wildcatRows(), "time.": timeRows(), "log.": logRows(), "msg:": messageRows(), "": baseRows(),
	} {
		for _, r := range rows {
			require.Contains(t, string(text), module+r.name)
		}
	}
	for _, key := range triggerKeys() {
		require.Contains(t, string(text), "`"+key+"`")
	}
}

func TestTheFixtureInTheDocumentsPasses(t *testing.T) {
	text, err := os.ReadFile("../../scripts/README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(text), "```json\n")
	require.True(t, ok)
	fixture, _, _ := strings.Cut(rest, "```")
	rule, err := os.ReadFile("../../scripts/ping.lua")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ping.lua"), rule, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ping.test.json"), []byte(fixture), 0o600))
	results, err := TestFile(filepath.Join(dir, "ping.test.json"), Limits{})
	require.NoError(t, err)
	require.Len(t, results, 2)
	for _, r := range results {
		require.Empty(t, r.Problem)
	}
}
