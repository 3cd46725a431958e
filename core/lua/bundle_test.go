package lua

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/pipeline"
)

func TestABundleIsTheSameRulesElsewhere(t *testing.T) {
	cfg := files(t, "a.lua", body(`msg:reply("a")`), "b.lua", body(`msg:reply("b")`))
	cfg.Rules[0].Accounts, cfg.Rules[0].Timeout = []string{"sales"}, 20*time.Millisecond
	cfg.Limits, cfg.Replies = Limits{Instructions: 5000}, pipeline.ReplyLimits{MaxAge: time.Minute, PerMinute: 3}
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, "b.test.json"),
		[]byte(`{"cases": [{"name": "b", "event": {"message": {"text": "x"}}, "want": {"actions": [{"text": "b"}]}}]}`), 0o600))
	b := Read(cfg)
	packed, err := b.Encode()
	require.NoError(t, err)
	again, err := DecodeBundle(packed)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(b, again, cmpopts.IgnoreUnexported(BundledRule{})))
	require.Equal(t, b.Version(), again.Version())
	require.Regexp(t, `^[0-9a-f]{12}$`, b.Version())

	set, err := again.Load(Deps{Slots: 1})
	require.NoError(t, err)
	live := NewLive(set)
	got := live.Acquire()
	defer got.Release()
	require.Equal(t, b.Version(), got.Version)
	require.Equal(t, cfg.Replies, got.Replies)
	require.Len(t, got.Rules, 2)
	v, err := got.Rules[1].Eval(t.Context(), message("x"))
	require.NoError(t, err)
	require.Equal(t, "b", v.Actions[0].Text)
	require.Equal(t, 5000, set.rules[0].script.lim.Instructions)
	require.Equal(t, 20*time.Millisecond, set.rules[0].wall)
	require.False(t, got.Rules[0].Match(func() *event { ev := message("x"); ev.Account = "other"; return ev }()))

	for _, damaged := range [][]byte{nil, packed[:len(packed)/2], []byte("x")} {
		_, err = DecodeBundle(damaged)
		require.ErrorContains(t, err, "unpack rules")
	}
}

func TestAVersionIsWhatTheRulesDoAndNotWhereTheyAre(t *testing.T) {
	version := func(change func(cfg *Config)) string {
		cfg := files(t, "a.lua", body(""), "b.lua", body(""))
		change(&cfg)
		return Read(cfg).Version()
	}
	same := version(func(*Config) {})
	require.Equal(t, same, version(func(cfg *Config) { cfg.Rules[0].File = filepath.Join(cfg.Dir, "a.lua") }))
	seen := map[string]string{same: "nothing"}
	for what, change := range map[string]func(cfg *Config){
		"name":         func(cfg *Config) { cfg.Rules[0].Name = "x" },
		"order":        func(cfg *Config) { cfg.Rules[0], cfg.Rules[1] = cfg.Rules[1], cfg.Rules[0] },
		"accounts":     func(cfg *Config) { cfg.Rules[0].Accounts = []string{"a"} },
		"chats":        func(cfg *Config) { cfg.Rules[0].Chats = []string{"a"} },
		"timeout":      func(cfg *Config) { cfg.Rules[0].Timeout = time.Millisecond },
		"on_error":     func(cfg *Config) { cfg.Rules[0].OnError = OnErrorDisable },
		"fewer":        func(cfg *Config) { cfg.Rules = cfg.Rules[:1] },
		"none":         func(cfg *Config) { cfg.Rules = nil },
		"instructions": func(cfg *Config) { cfg.Limits.Instructions = 7 },
		"max_age":      func(cfg *Config) { cfg.Replies.MaxAge = 7 },
		"replies":      func(cfg *Config) { cfg.Replies.PerMinute = 7 },
		"source":       func(cfg *Config) { write(t, cfg, "a.lua", body(" ")) },
		"test":         func(cfg *Config) { write(t, cfg, "a.test.json", "{}") },
	} {
		v := version(change)
		require.NotContains(t, seen, v, what)
		seen[v] = what
	}
}

func write(t *testing.T, cfg *Config, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, name), []byte(text), 0o600))
}

func TestATestThatFailsKeepsRulesFromLoading(t *testing.T) {
	cfg := files(t, "a.lua", body(`msg:reply("a")`), "b.lua", body(`msg:reply("b")`), "c.lua", body(""), "d.lua", body(""))
	const says = `{"cases": [
  {"name": "right", "event": {"message": {"text": "x"}}, "want": {"actions": [{"text": "a"}]}},
  {"name": "wrong", "event": {"message": {"text": "x"}}, "want": {"drop": true}}
]}`
	write(t, &cfg, "a.test.json", says)
	write(t, &cfg, "c.test.json", `{"rule": "elsewhere.lua", "cases": [{"want": {"drop": true}}]}`) // about another file
	write(t, &cfg, "d.test.json", `{"cases": [{"nam": ""}]}`)
	cfg.Rules[0].Accounts = []string{"other"} // what wildcat.yaml says is not what is tested
	_, err := Read(cfg).Load(Deps{Slots: 2})
	var bad Problems
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad, 2)
	require.Equal(t, `a.test.json:3: the rule's test "wrong" fails: want {"drop":true}, got {"actions":[{"kind":"reply","text":"a"}]}`, bad[0].String())
	require.Contains(t, bad[0].Excerpt, `>    3 |   {"name": "wrong"`)
	require.Contains(t, bad[1].String(), `d.test.json: `)
	require.Contains(t, bad[1].String(), `unknown field "nam"`)
	require.Equal(t, []Problem(bad), Check(cfg))
}

func TestASetThatIsTooLargeIsRefused(t *testing.T) {
	var args []string
	for _, name := range strings.Split("abcdefghijklmnopq", "") { // 17 of 250 KiB
		args = append(args, name+".lua", body("")+"\n"+strings.Repeat("-", 250<<10))
	}
	_, err := Read(files(t, args...)).Load(Deps{Slots: 1})
	require.ErrorContains(t, err, "rules: the rules and their tests are ")
	require.ErrorContains(t, err, "more than the limit of 4194304")
	_, err = Read(files(t, args[:32]...)).Load(Deps{Slots: 1})
	require.NoError(t, err)
}
