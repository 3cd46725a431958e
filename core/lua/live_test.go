package lua

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/sdk"
)

type event = sdk.Event

// bundled loads files as a reload does.
func bundled(t testing.TB, deps Deps, nameText ...string) *Set {
	t.Helper()
	deps.Slots = 1
	set, err := Read(files(t, nameText...)).Load(deps)
	require.NoError(t, err)
	return set
}

func TestEventsInFlightEndOnTheSetTheyBeganWith(t *testing.T) {
	one, two := bundled(t, Deps{}, "x.lua", body(`msg:reply("one")`)), bundled(t, Deps{}, "x.lua", body(`msg:reply("two")`))
	live := NewLive(one)
	first, second := live.Acquire(), live.Acquire()
	live.Swap(two)
	require.Same(t, two, live.Set())
	require.False(t, one.Closed())
	v, err := first.Rules[0].Eval(t.Context(), message("x"))
	require.NoError(t, err)
	require.Equal(t, "one", v.Actions[0].Text)
	machine := one.rules[0].slots[0].st
	require.NotNil(t, machine)
	first.Release()
	require.False(t, one.Closed())
	second.Release()
	require.True(t, one.Closed(), "the last event on it closes it")
	require.Nil(t, one.rules[0].slots[0].st)
	require.False(t, two.Closed())

	now := live.Acquire()
	v, err = now.Rules[0].Eval(t.Context(), message("x"))
	require.NoError(t, err)
	require.Equal(t, "two", v.Actions[0].Text)
	now.Release()
	require.False(t, two.Closed(), "it is in force")
}

func TestARuleThatAReloadDoesNotChangeKeepsItsCounts(t *testing.T) {
	reg := prometheus.NewRegistry()
	deps := Deps{Registerer: reg, Now: frozen}
	const bad = "fails.lua"
	fails, other := body(`error("no")`), body("")
	load := func(text, more string) *Set { return bundled(t, deps, bad, text, more, other) }
	live := NewLive(load(fails, "a.lua"))
	old := live.Acquire()
	for n := range failingChats {
		_, err := old.Rules[0].Eval(t.Context(), from(n, "x"))
		require.Error(t, err)
	}
	require.NotEmpty(t, disabled(t, old.Rules[0], message("x")))
	require.Equal(t, StateDisabled, live.Set().Status()[0].State)
	require.Contains(t, gather(t, reg), "wildcat_rule_disabled[fails] 1")

	// A reload is another chance; what was counted stays.
	live.Swap(load(fails, "b.lua"))
	st := live.Set().Status()[0]
	require.Equal(t, StateActive, st.State)
	require.Equal(t, uint64(failingChats), st.Failures)
	require.NotEmpty(t, st.LastError)
	lines := gather(t, reg)
	require.Contains(t, lines, "wildcat_rule_disabled[fails] 0")
	require.Contains(t, lines, "wildcat_rule_disabled[b] 0")
	require.NotContains(t, lines, "wildcat_rule_disabled[a] 0", "a rule that is gone is not shown")
	require.Contains(t, lines, "wildcat_rule_runs_total[error fails] 5")

	// An event that is still on the old set counts for the rule that is the same …
	_, err := old.Rules[0].Eval(t.Context(), message("x"))
	require.Error(t, err)
	require.Equal(t, uint64(failingChats)+1, live.Set().Status()[0].Failures)

	// … and not for one that is another by the same name.
	live.Swap(load(body(""), "b.lua"))
	for n := range failingChats {
		_, err := old.Rules[0].Eval(t.Context(), from(n, "x"))
		require.Error(t, err)
	}
	require.Zero(t, live.Set().Status()[0].Failures)
	require.Contains(t, gather(t, reg), "wildcat_rule_disabled[fails] 0")
	old.Release()
}

func TestASetThatIsNotPutIntoForceIsNotSeen(t *testing.T) {
	reg := prometheus.NewRegistry()
	bundled(t, Deps{Registerer: reg}, "x.lua", body(""))
	require.Empty(t, gather(t, reg))
}

// BenchmarkReload is a reload of 100 rules with a test each on two slots, from files to
// the swap: at most 30 ms.
func BenchmarkReload(b *testing.B) {
	cfg := hundred(b)
	live := NewLive(bundled(b, Deps{}, "x.lua", body("")))
	for b.Loop() {
		set, err := Read(cfg).Load(Deps{Slots: 2})
		if err != nil {
			b.Fatal(err)
		}
		live.Swap(set)
	}
}

// BenchmarkAcquire is what an event pays for the set being replaceable.
func BenchmarkAcquire(b *testing.B) {
	live := NewLive(bundled(b, Deps{}, "x.lua", body("")))
	b.ReportAllocs()
	for b.Loop() {
		set := live.Acquire()
		set.Release()
	}
}
