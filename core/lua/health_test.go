package lua

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

// from is a private message of the nth person, whose chat is its own.
func from(n int, text string) *sdk.Event {
	ev := message(text)
	jid := fmt.Sprintf("49155500%02d@s.whatsapp.net", n)
	ev.Chat, ev.Message.Chat, ev.Message.From = jid, jid, jid
	ev.Message.SenderPN, ev.Message.SenderLID = jid, fmt.Sprintf("77%02d@lid", n)
	return ev
}

// disabled asks a rule for its reason not to run.
func disabled(t *testing.T, r pipeline.Rule, ev *sdk.Event) string {
	t.Helper()
	require.True(t, r.Match(ev), "what is noted of a disabled rule is what it would have been asked")
	_, err := r.Eval(t.Context(), ev)
	var off *pipeline.DisabledError
	require.ErrorAs(t, err, &off)
	return off.Reason
}

func TestFailuresInFiveChatsInARowDisableARuleVisibly(t *testing.T) {
	var out bytes.Buffer
	reg := prometheus.NewRegistry()
	deps := Deps{Slots: 1, Now: frozen, Registerer: reg, Logger: slog.New(slog.NewTextHandler(&out, nil))}
	cfg := files(t, "x.lua", `wildcat.on("message", { prefix = {"bad", "good", "loop"} }, function(msg)
		if msg.text == "bad" then error("no") end while msg.text == "loop" do end end)`)
	set, err := Load(cfg, deps)
	require.NoError(t, err)
	rule := set.Rules()[0]
	run := func(n int, text string) { _, _ = rule.Eval(t.Context(), from(n, text)) }
	for n := range 4 {
		run(n, "bad")
	}
	require.Equal(t, 4, set.Status()[0].FailingChats)
	run(1, "good") // a success of any
	require.Zero(t, set.Status()[0].FailingChats)
	for n := range 4 {
		run(n, "bad")
		run(n, "bad")
	}
	st := set.Status()[0]
	require.Equal(t, StateActive, st.State)
	require.Equal(t, 8, st.FailuresInARow)
	require.Equal(t, 4, st.FailingChats)
	run(4, "loop")
	st = set.Status()[0]
	require.Equal(t, StateDisabled, st.State)
	const why = "9 failures in a row, in 5 chats"
	require.Equal(t, why, st.Reason)
	require.EqualValues(t, 14, st.Runs)
	require.EqualValues(t, 13, st.Failures)
	require.Equal(t, 9, st.FailuresInARow)
	require.Equal(t, 5, st.FailingChats)
	require.Contains(t, st.LastError, "instruction budget")
	require.Contains(t, out.String(), `msg="rule disabled" component=lua rule=x reason="`+why+`"`)

	// A message that it would have been asked about is told, and counted; another is not.
	require.Equal(t, why, disabled(t, rule, from(9, "good")))
	require.False(t, rule.Match(from(9, "other")))
	require.EqualValues(t, 14, set.Status()[0].Runs)

	require.Equal(t, []string{
		`wildcat_rule_disabled[x] 1`, `wildcat_rule_duration_seconds[x] 0`,
		`wildcat_rule_killed_total[instructions x] 1`, `wildcat_rule_runs_total[disabled x] 1`,
		`wildcat_rule_runs_total[error x] 12`, `wildcat_rule_runs_total[killed x] 1`, `wildcat_rule_runs_total[ok x] 1`,
	}, gather(t, reg))

	// Loading again, with the same registry, makes it active again.
	set, err = Load(cfg, deps)
	require.NoError(t, err)
	_, err = set.Rules()[0].Eval(t.Context(), from(1, "good"))
	require.NoError(t, err)
}

// A stranger can write to every account of a hub and into many groups, and many people
// into one group: neither is enough.
func TestNoOnePersonAndNoOneChatDisablesARule(t *testing.T) {
	for name, hostile := range map[string]func(i int) *sdk.Event{
		"one person, one chat": func(int) *sdk.Event { return from(1, "bad") },
		"one person, many accounts": func(i int) *sdk.Event {
			ev := from(1, "bad")
			ev.Account = fmt.Sprint("account", i)
			return ev
		},
		"one person, many groups": func(i int) *sdk.Event {
			ev := from(1, "bad")
			ev.Chat = fmt.Sprintf("1203%d@g.us", i)
			ev.Message.Participant = ev.Message.SenderLID
			return ev
		},
		"many people, one group": func(i int) *sdk.Event {
			ev := from(i, "bad")
			ev.Chat = "1203@g.us"
			return ev
		},
		"four people, four chats": func(i int) *sdk.Event { return from(i%4, "bad") },
	} {
		set := load(t, body(`if msg.text == "bad" then error("no") end`), Deps{Now: frozen})
		for i := range 200 {
			_, err := eval(t, set, hostile(i))
			var f *Failure
			require.ErrorAs(t, err, &f, "%s: it is not disabled", name)
			if i%10 == 9 {
				_, err = eval(t, set, from(50, "good"))
				require.NoError(t, err, name)
			}
		}
		st := set.Status()[0]
		require.Equal(t, StateActive, st.State, name)
		require.EqualValues(t, 200, st.Failures, name)
	}
}

func TestAFifthOfAMinutesRunsDisablesARule(t *testing.T) {
	now := time.Unix(1000, 0)
	var h health
	bad := &Failure{}
	n := uint64(0)
	step := func(f *Failure) string {
		now = now.Add(time.Second)
		n++
		return h.record(now, f, origin{n, n + 1<<32}, false)
	}
	for i := range 58 { // every sixth fails
		if i%6 == 5 {
			require.Empty(t, step(bad))
		} else {
			require.Empty(t, step(nil))
		}
	}
	now = now.Add(time.Minute) // a new minute
	for i := range 19 {
		if i%4 == 0 {
			require.Empty(t, step(bad), "under %d runs nothing is said", minRuns)
		} else {
			require.Empty(t, step(nil))
		}
	}
	require.Equal(t, "6 of 20 runs within a minute failed, each in another chat", step(bad))
	require.True(t, h.disabled.Load())
}

func TestWhatIsKeptOfFailuresIsBounded(t *testing.T) {
	var h health
	for i := range uint64(100_000) {
		h.record(frozen(), nil, origin{}, false)
		for range 8 {
			h.record(frozen(), nil, origin{}, false)
		}
		h.record(frozen(), &Failure{}, origin{i, i + 1<<32}, false)
	}
	require.False(t, h.disabled.Load(), "a tenth fails")
	require.LessOrEqual(t, len(h.minuteFailing), 2*maxFailing)
	require.Len(t, h.rowFailing, 2)
}

func TestOnErrorDisableNeedsOneFailure(t *testing.T) {
	cfg := files(t, "x.lua", body(`error("no")`))
	cfg.Rules[0].OnError = OnErrorDisable
	set, err := Load(cfg, Deps{Slots: 1})
	require.NoError(t, err)
	_, err = eval(t, set, message("x"))
	require.Error(t, err)
	require.Equal(t, "it failed, and on_error is disable", disabled(t, set.Rules()[0], message("x")))
}
