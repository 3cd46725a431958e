package lua

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/core/pipeline"
)

const pingRule = `wildcat.on("message", { prefix = "!ping" }, function(msg)
  msg:reply("pong " .. (msg.text:match("^!ping%s+(%w+)") or ""))
end)`

// BenchmarkRule is one rule from Eval to verdict; compare it with
// BenchmarkEmptyProtectedCall (at most 20 times) and BenchmarkSameWorkInGo (6 times).
func BenchmarkRule(b *testing.B) {
	set := load(b, pingRule, Deps{})
	rule, ev := set.Rules()[0], message("!ping hello")
	b.ReportAllocs()
	for b.Loop() {
		v, err := rule.Eval(b.Context(), ev)
		if err != nil || len(v.Actions) != 1 {
			b.Fatal(err)
		}
	}
}

// BenchmarkEmptyProtectedCall is the least that entering Lua costs.
func BenchmarkEmptyProtectedCall(b *testing.B) {
	l := glua.NewState()
	defer l.Close()
	require.NoError(b, l.DoString("function f() end"))
	fn := l.GetGlobal("f")
	b.ReportAllocs()
	for b.Loop() {
		if err := l.CallByParam(glua.P{Fn: fn, Protect: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSameWorkInGo is the ping rule in Go, with the matcher.
func BenchmarkSameWorkInGo(b *testing.B) {
	ev := message("!ping hello")
	b.ReportAllocs()
	for b.Loop() {
		var v pipeline.Verdict
		if strings.HasPrefix(ev.Message.Text, "!ping") {
			steps := 1 << 20
			m := &matcher{src: ev.Message.Text, pat: "!ping%s+(%w+)", steps: &steps, depth: 200}
			if m.at(0) >= 0 {
				c := m.capture[0]
				v.Actions = append(v.Actions, pipeline.Action{Kind: pipeline.ActionReply, Text: "pong " + m.src[c.start:c.start+c.size]})
			}
		}
		if len(v.Actions) != 1 {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkMissedPrefilter is Match on a message that is not for the rule: at most 5 ns.
func BenchmarkMissedPrefilter(b *testing.B) {
	rule, ev := load(b, pingRule, Deps{}).Rules()[0], message("hello world")
	b.ReportAllocs()
	for b.Loop() {
		if rule.Match(ev) {
			b.Fatal("matched")
		}
	}
}

func benchRules(b *testing.B, n int) {
	var args []string
	for i := range n - 1 {
		args = append(args, fmt.Sprintf("r%d.lua", i), strings.ReplaceAll(pingRule, `prefix = "!ping"`, fmt.Sprintf(`prefix = "!cmd%d"`, i)))
	}
	args = append(args, "ping.lua", pingRule)
	set, err := Load(files(b, args...), Deps{Slots: 1})
	require.NoError(b, err)
	ev := message("!ping hello")
	b.ReportAllocs()
	for b.Loop() {
		hits := 0
		for _, r := range set.Rules() {
			if r.Match(ev) {
				if _, err := r.Eval(b.Context(), ev); err != nil {
					b.Fatal(err)
				}
				hits++
			}
		}
		if hits != 1 {
			b.Fatal(hits)
		}
	}
}

// BenchmarkRulesOneHits compares one rule with a hundred of which one hits: at most twice.
func BenchmarkRulesOneHits(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchRules(b, n) })
	}
}

// BenchmarkInstruction is a loop with and without the counting context: at most 20 % more.
func BenchmarkInstruction(b *testing.B) {
	const loop = "local x = 0 for i = 1, 3000 do x = x + i end"
	b.Run("stock", func(b *testing.B) {
		l := glua.NewState()
		defer l.Close()
		fn, err := l.LoadString(loop)
		require.NoError(b, err)
		for b.Loop() {
			l.Push(fn)
			if err := l.PCall(0, 0, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("counted", func(b *testing.B) {
		cfg := files(b, "x.lua", body(loop))
		cfg.Limits.Wall = maxWall // a busy machine must not end the benchmark
		set, err := Load(cfg, Deps{Slots: 1})
		require.NoError(b, err)
		rule, ev := set.Rules()[0], message("x")
		for b.Loop() {
			if _, err := rule.Eval(b.Context(), ev); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkState is what one machine with a rule costs to build; B/op is about what it holds.
func BenchmarkState(b *testing.B) {
	r := load(b, pingRule, Deps{}).rules[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, bad := r.script.newState(b.Context()); len(bad) > 0 {
			b.Fatal(bad)
		}
	}
}

// hundred is a hundred rules, each with a test.
func hundred(b *testing.B) Config {
	var args []string
	for i := range 100 {
		args = append(args, fmt.Sprintf("r%d.lua", i), pingRule)
	}
	cfg := files(b, args...)
	for i := range 100 {
		test := `{"cases": [{"name": "answers", "event": {"message": {"text": "!ping x"}}, "want": {"actions": [{"text": "pong x"}]}}]}`
		require.NoError(b, os.WriteFile(filepath.Join(cfg.Dir, fmt.Sprintf("r%d.test.json", i)), []byte(test), 0o600))
	}
	return cfg
}

// BenchmarkLoad is a load of 100 rules on two slots each: at most 30 ms.
func BenchmarkLoad(b *testing.B) {
	cfg := hundred(b)
	for b.Loop() {
		if _, err := Load(cfg, Deps{Slots: 2}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMatch is our matcher; compare with what string.match of gopher-lua takes.
func BenchmarkMatch(b *testing.B) {
	const src, pat = "the quick brown fox jumps over the lazy dog 12345 times", "(%a+) (%d+)"
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			steps := 1 << 20
			m := &matcher{src: src, pat: pat, steps: &steps, depth: 200}
			if s, _ := m.search(0, false); s < 0 {
				b.Fatal("no match")
			}
		}
	})
	b.Run("stock", func(b *testing.B) {
		for b.Loop() {
			if got, err := stock(src, pat); err != nil || len(got) == 0 {
				b.Fatal(err)
			}
		}
	})
}
