package lua

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/sdk"
)

func TestEveryMistakeOfEveryFileIsReportedWithItsLine(t *testing.T) {
	cfg := files(t,
		"syntax.lua", "local a = 1\nlocal b = 2\nif a then\n  b = = 3\nend\nlocal c\n",
		"eof.lua", "wildcat.on(\"message\", {}, function(msg)\n  msg:reply(\"x\")\n",
		"compile.lua", "local a = 1\nbreak\n",
		"goto.lua", "goto nowhere\n",
		"run.lua", "local a\n\nlocal b = a.x\n",
		"triggers.lua", "wildcat.on(\"message\", {\n  prefx = \"!a\",\n  group = 1,\n  regex = \"(\",\n}, function() end)\nwildcat.on(\"receipt\", {}, function() end)\nwildcat.on(\"message\", {}, 5)\n",
		"none.lua", "local x = 1\n",
		"string.lua", "local s = \"abc\nlocal t\n",
		"good.lua", body(""),
	)
	cfg.Rules = append(cfg.Rules,
		RuleConfig{File: "gone.lua"},
		RuleConfig{File: "good.lua"},
		RuleConfig{File: "good.lua", Name: "slow", Timeout: time.Second},
		RuleConfig{File: "good.lua", Name: "odd", OnError: "stop"},
	)
	_, err := Load(cfg, Deps{Slots: 1})
	var bad Problems
	require.ErrorAs(t, err, &bad)
	var got []string
	for _, p := range bad {
		got = append(got, p.String())
	}
	require.Equal(t, []string{
		"syntax.lua:4: syntax error near '='",
		"eof.lua:2: syntax error: the file ends too early (is an 'end' missing?)",
		"compile.lua:2: no loop to break",
		"goto.lua:1: no visible label 'nowhere' for <goto> at line 1",
		"run.lua:3: attempt to index a non-table object(nil) with key 'x'",
		"triggers.lua:3: trigger group must be true, false or \"any\", not the number 1",
		"triggers.lua:2: unknown trigger \"prefx\", did you mean \"prefix\"?",
		"triggers.lua:4: trigger regex: error parsing regexp: missing closing ): `(`",
		"triggers.lua:6: wildcat.on: unknown event \"receipt\"; known is \"message\"",
		"triggers.lua:7: wildcat.on: the third argument must be a function, not the number 5",
		"none.lua: the file registers no handler: wildcat.on is never called",
		"string.lua:1: unterminated string",
		"gone.lua: open " + filepath.Join(cfg.Dir, "gone.lua") + ": no such file or directory",
		"good.lua: the rule name \"good\" is taken by good.lua: give one of them another name",
		"good.lua: timeout 1s is not between 0 and 250ms",
		"good.lua: on_error must be continue or disable, not \"stop\"",
	}, got)
	require.Contains(t, err.Error(), strings.Join([]string{
		"syntax.lua:4: syntax error near '='",
		"     2 | local b = 2",
		"     3 | if a then",
		">    4 |   b = = 3",
		"       |       ^",
		"     5 | end",
		"     6 | local c",
	}, "\n"))
	require.Contains(t, err.Error(), ">    2 |   prefx = \"!a\",\n       |   ^\n")

	require.Equal(t, []Problem(bad), Check(cfg), "wildcat check says the same")
}

func TestFilesAreFoundAbsoluteAndRelative(t *testing.T) {
	cfg := files(t, "a.lua", body(""))
	abs := filepath.Join(cfg.Dir, "a.lua")
	set, err := Load(Config{Dir: "/elsewhere", Rules: []RuleConfig{{File: abs, Name: "b"}}}, Deps{Slots: 1})
	require.NoError(t, err)
	require.Equal(t, "b", set.Rules()[0].Name())

	set, err = Load(cfg, Deps{Slots: 1})
	require.NoError(t, err)
	require.Equal(t, "a", set.Rules()[0].Name())
	require.Equal(t, "a.lua", set.Status()[0].File)

	set, err = Load(Config{}, Deps{})
	require.NoError(t, err)
	require.Empty(t, set.Rules())
}

func TestLimitsOutOfRangeAreRefused(t *testing.T) {
	cfg := Config{Limits: Limits{Instructions: 2_000_000}}
	_, err := Load(cfg, Deps{})
	require.ErrorContains(t, err, "instructions: 2000000 is not between 1 and 1000000")
	require.Len(t, Check(cfg), 1)
	_, err = Load(Config{Limits: Limits{Wall: time.Hour}}, Deps{})
	require.ErrorContains(t, err, "wall")
}

func TestAFileThatRegistersOtherHandlersEachTimeIsRefused(t *testing.T) {
	var n float64
	_, err := Load(files(t, "x.lua", `wildcat.on("message", { prefix = "" .. math.random(100) }, function() end)`),
		Deps{Slots: 2, Rand: func() float64 { n += 0.1; return n }})
	require.ErrorContains(t, err, "other handlers each time")
}

func TestAFailureTellsEverything(t *testing.T) {
	set := load(t, "local function inner(x)\n  return x.y.z\nend\n"+body("  inner({})\n"), Deps{})
	_, err := eval(t, set, message("secret"))
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, "x", f.Rule)
	require.Equal(t, 2, f.Line)
	require.Equal(t, "0123456789abcdef0123456789abcdef", f.EventID)
	require.Positive(t, f.Instructions)
	require.Regexp(t, `^rule x: x\.lua:2: attempt to index .* \(event 0123456789abcdef0123456789abcdef, \d+ instructions, .*s\)$`, f.Error())
	require.Contains(t, f.Detail(), ">    2 |   return x.y.z")
	require.Contains(t, f.Detail(), "stack traceback:")
	require.Contains(t, f.Detail(), "x.lua:2: in function 'inner'")
	require.Contains(t, f.Detail(), "x.lua:5:")
	require.NotContains(t, f.Detail(), "secret")
}

// gather lists the metrics as name[label values] value.
func gather(t *testing.T, reg *prometheus.Registry) (out []string) {
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out = append(out, fmt.Sprintf("%s%v %v", f.GetName(), labels, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	return out
}

func TestAMachineIsThrownAwayAfterAGoPanic(t *testing.T) {
	set := load(t, body(`local n = 0 pcall(boom) msg:reply("x")`), Deps{})
	r := set.rules[0]
	boom := r.script.lib.function(nil) // calling it panics in Go
	l := r.slots[0].st.l
	l.SetField(l.GetMetaField(l.G.Global, "__index"), "boom", boom)
	before := r.slots[0].st
	_, err := eval(t, set, message("x"))
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, killPanic, f.Killed)
	require.Nil(t, r.slots[0].st)
	_, err = eval(t, set, message("x")) // without boom, pcall of nil is an ordinary failure
	require.NoError(t, err)
	require.NotSame(t, before, r.slots[0].st)
}

func TestAWornMachineIsBuiltAnew(t *testing.T) {
	set := load(t, "local seen = {}\n"+body(`seen[#seen + 1] = string.rep("x", 200000) for i = 1, 30 do seen[#seen + 1] = seen[1] .. i end msg:reply("" .. #seen)`), Deps{Now: frozen})
	first := set.rules[0].slots[0].st
	for i := range 20 {
		v, err := eval(t, set, message("x"))
		require.NoError(t, err)
		require.NotEmpty(t, v.Actions, i)
	}
	require.NotSame(t, first, set.rules[0].slots[0].st)
}

func TestRulesAreLimitedToAccountsAndChats(t *testing.T) {
	cfg := files(t, "x.lua", body(""))
	cfg.Rules[0].Accounts = []string{"sales", "help"}
	cfg.Rules[0].Chats = []string{"4915550001", "1203@g.us"}
	set, err := Load(cfg, Deps{Slots: 1})
	require.NoError(t, err)
	rule := set.Rules()[0]
	ev := message("x")
	require.True(t, rule.Match(ev))
	ev.Account = "other"
	require.False(t, rule.Match(ev))
	ev = message("x")
	ev.Chat = "77@lid" // the message still names the phone number
	require.True(t, rule.Match(ev))
	ev.Message.Chat = "77@lid"
	require.False(t, rule.Match(ev))
	ev.Chat = "1203@g.us"
	require.True(t, rule.Match(ev))
}

func TestTriggers(t *testing.T) {
	group := message("hello")
	group.Chat, group.Message.Chat = "1203@g.us", "1203@g.us"
	media := message("caption")
	media.Message.Media, media.Message.Kind = &sdk.Media{}, sdk.KindImage
	mine := message("hello")
	mine.Message.FromMe = true
	receipt := &sdk.Event{Type: sdk.TypeReceipt, Receipt: &sdk.Receipt{}}
	undecryptable := message("")
	undecryptable.Type = sdk.TypeUndecryptable

	for trigger, want := range map[string]string{
		`{}`:                                   "plain group media",
		`{ from_me = true }`:                   "mine",
		`{ from_me = "any" }`:                  "plain group media mine",
		`{ group = true }`:                     "group",
		`{ group = false }`:                    "plain media",
		`{ has_media = true }`:                 "media",
		`{ has_media = false }`:                "plain group",
		`{ kind = "image" }`:                   "media",
		`{ kind = { "image", "text" } }`:       "plain group media",
		`{ prefix = "hel" }`:                   "plain group",
		`{ prefix = { "x", "hel" } }`:          "plain group",
		`{ equals = "hello" }`:                 "plain group",
		`{ equals = { "x", "caption" } }`:      "media",
		`{ contains = "ell" }`:                 "plain group",
		`{ regex = "^(?i)HELLO$" }`:            "plain group",
		`{ chat = "1203@g.us" }`:               "group",
		`{ chat = { "4915550001" } }`:          "plain media",
		`{ account = "sales" }`:                "plain group media",
		`{ account = "other" }`:                "",
		`{ prefix = "hel", contains = "zzz" }`: "",
	} {
		set := load(t, fmt.Sprintf(`wildcat.on("message", %s, function() end)`, trigger), Deps{})
		var got []string
		for _, c := range []struct {
			name string
			ev   *sdk.Event
		}{{"plain", message("hello")}, {"group", group}, {"media", media}, {"mine", mine}, {"receipt", receipt}, {"undecryptable", undecryptable}} {
			if set.Rules()[0].Match(c.ev) {
				got = append(got, c.name)
			}
		}
		require.Equal(t, want, strings.Join(got, " "), trigger)
	}
	set := load(t, `wildcat.on("message", function(msg) msg:reply("all") end)`, Deps{})
	require.True(t, set.Rules()[0].Match(message("x")), "the table may be left out")
}

func TestChatsRunSideBySide(t *testing.T) {
	cfg := files(t, "x.lua", "local n = 0\n"+body(`n = n + 1
		local words = {} for w in msg.text:gmatch("%w+") do words[#words + 1] = w:upper() end
		msg:reply(table.concat(words, " ") .. string.format("%3d", #words))`))
	set, err := Load(cfg, Deps{Slots: 3, Registerer: prometheus.NewRegistry(), Now: frozen})
	require.NoError(t, err)
	rule := set.Rules()[0]
	var wg sync.WaitGroup
	for c := range 6 {
		wg.Go(func() {
			for i := range 50 {
				ev := message(fmt.Sprintf("hello %d world %d", c, i))
				ev.Chat = fmt.Sprintf("49%d@s.whatsapp.net", c)
				v, err := rule.Eval(t.Context(), ev)
				if err != nil || v.Actions[0].Text != fmt.Sprintf("HELLO %d WORLD %d  4", c, i) {
					t.Errorf("chat %d: %v %v", c, v, err)
				}
				_ = set.Status()
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 300, set.Status()[0].Runs)
}

func TestExcerptsOfOddFiles(t *testing.T) {
	cfg := files(t, "crlf.lua", "local a\r\nlocal b = = 2\r\nlocal c\r\n", "empty.lua", "", "long.lua", "local x = "+strings.Repeat("é", 500)+"\n")
	bad := Check(cfg)
	require.Len(t, bad, 3)
	require.Equal(t, 2, bad[0].Line)
	require.NotContains(t, bad[0].Excerpt, "\r")
	require.Contains(t, bad[1].Message, "registers no handler")
	require.Less(t, len(bad[2].Excerpt), 400)
	require.NoError(t, os.RemoveAll(cfg.Dir))
}
