package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a store.KV in memory.
type memory struct {
	mu   sync.Mutex
	rows map[string][]byte
	fail error
}

func newMemory() *memory { return &memory{rows: map[string][]byte{}} }

func (k *memory) GetKV(_ context.Context, namespace, key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, found := k.rows[namespace+"|"+key]
	if !found && k.fail == nil {
		return nil, store.ErrNotFound
	}
	return v, k.fail
}

func (k *memory) SetKV(_ context.Context, namespace, key string, value []byte, _ time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if value == nil {
		delete(k.rows, namespace+"|"+key)
	} else {
		k.rows[namespace+"|"+key] = value
	}
	return k.fail
}

func (k *memory) SwapKV(_ context.Context, namespace, key string, old, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if present, found := k.rows[namespace+"|"+key]; found != (old != nil) || !bytes.Equal(present, old) {
		return store.ErrStale
	}
	k.rows[namespace+"|"+key] = value
	return k.fail
}

func (k *memory) broken(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

// hub is a Manager whose files are a text.
type hub struct {
	*Manager
	mu   sync.Mutex
	text string
	err  error
	also []string
	logs lockedBuffer
	reg  *prometheus.Registry
	file func(text string) lua.Config
}

func reply(text string) string {
	return fmt.Sprintf("wildcat.on(\"message\", {}, function(msg) msg:reply(%q) end)", text)
}

// noFiles is the text of a hub that is to have no rules, and says so.
const noFiles = "files: []"

// newHub makes a hub with a text as its only rule's file; "" says nothing about rules.
func newHub(t testing.TB, text string) *hub {
	t.Helper()
	h, err := tryHub(t, text)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Stop(context.Background()) })
	return h
}

func tryHub(t testing.TB, text string) (*hub, error) {
	t.Helper()
	h := &hub{text: text, reg: prometheus.NewRegistry(), file: folder(t)}
	m, err := New(Deps{
		Read: func() (Source, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.text == "" || h.text == noFiles {
				return Source{Silent: h.text == ""}, h.err
			}
			return Source{Config: h.file(h.text), Restart: h.also}, h.err
		},
		Lua:   lua.Deps{Slots: 1, Registerer: h.reg, Logger: slog.New(slog.NewTextHandler(&h.logs, nil))},
		Every: 5 * time.Millisecond,
	})
	h.Manager = m
	return h, err
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (h *hub) edit(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = text
}

// metric returns a metric's values by its only label.
func (h *hub) metric(t testing.TB, name string) map[string]float64 {
	t.Helper()
	families, err := h.reg.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				label = l.GetValue()
			}
			if f.GetName() == name {
				out[label] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// answers is what the rules in force reply.
func (h *hub) answers(t require.TestingT) string {
	set := h.Acquire()
	defer set.Release()
	var out []string
	for _, r := range set.Rules {
		v, err := r.Eval(context.Background(), message("x"))
		require.NoError(t, err)
		for _, a := range v.Actions {
			out = append(out, a.Text)
		}
	}
	return strings.Join(out, ",")
}

func TestAReloadPutsTheFilesIntoForceAndAMistakeDoesNot(t *testing.T) {
	h := newHub(t, reply("one"))
	require.NoError(t, h.Start(t.Context(), Place{KV: newMemory()}))
	first := h.Status().Version
	require.Equal(t, uint64(1), first.Number)
	require.Equal(t, CauseStart, first.Cause)
	require.Equal(t, "one", h.answers(t))

	h.edit(reply("two"))
	h.also = []string{"webhooks"}
	c, err := h.Reload(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, c.Before)
	require.Equal(t, uint64(2), c.Version.Number)
	require.Equal(t, []string{"webhooks"}, c.Restart)
	require.Equal(t, "two", h.answers(t))

	h.edit("local x\nif x then\n")
	_, err = h.Reload(t.Context())
	var bad lua.Problems
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 2, bad[0].Line)
	require.Equal(t, "two", h.answers(t))
	st := h.Status()
	require.Equal(t, c.Version, st.Version)
	require.Equal(t, err, st.Failure.Err)
	require.Contains(t, h.logs.String(), "rules were not changed: the old ones stay in force")
	require.Contains(t, h.logs.String(), "sections=[webhooks]")

	h.edit(reply("two"))
	again, err := h.Reload(t.Context())
	require.NoError(t, err)
	require.Equal(t, c.Version.Version, again.Version.Version)
	require.Equal(t, uint64(3), again.Version.Number, "other hubs are to load it anew, too")
	require.Nil(t, h.Status().Failure)
	list, err := h.Versions(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, map[string]float64{`failed`: 1, `followed`: 0, `ok`: 2, `refused`: 0}, h.metric(t, "wildcat_rules_reloads_total"))
	require.Equal(t, map[string]float64{c.Version.Version: 1}, h.metric(t, "wildcat_rules_info"))
	require.Equal(t, map[string]float64{"": 3}, h.metric(t, "wildcat_rules_version"))
}

func TestMistakesFailTheStartBeforeAStoreIsNeeded(t *testing.T) {
	_, err := tryHub(t, "wildcat.on(")
	require.ErrorAs(t, err, &lua.Problems{})
}

func TestARollbackGoesBackByName(t *testing.T) {
	h := newHub(t, reply("1"))
	require.NoError(t, h.Start(t.Context(), Place{KV: newMemory()}))
	_, err := h.Rollback(t.Context(), "")
	require.ErrorIs(t, err, ErrNoVersion)
	first := h.Status().Version.Version
	for i := 2; i <= 3; i++ {
		h.edit(reply(fmt.Sprint(i)))
		_, err := h.Reload(t.Context())
		require.NoError(t, err)
	}
	c, err := h.Rollback(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, CauseRollback, c.Version.Cause)
	require.Equal(t, "2", h.answers(t))
	_, err = h.Rollback(t.Context(), first[:leastPrefix])
	require.NoError(t, err)
	require.Equal(t, "1", h.answers(t))
	for _, none := range []string{first[:leastPrefix-1], "nope", first + "0"} {
		_, err = h.Rollback(t.Context(), none)
		require.ErrorIs(t, err, ErrNoVersion, none)
	}
	require.Equal(t, "1", h.answers(t))
}

func TestTheLastVersionsAreKeptAndNoMore(t *testing.T) {
	kv := newMemory()
	h := newHub(t, reply("0"))
	require.NoError(t, h.Start(t.Context(), Place{KV: kv}))
	first := h.Status().Version.Version
	for i := range keep + 3 {
		h.edit(reply(fmt.Sprint("v", i)))
		_, err := h.Reload(t.Context())
		require.NoError(t, err)
	}
	list, err := h.Versions(t.Context())
	require.NoError(t, err)
	require.Len(t, list, keep)
	require.Len(t, kv.rows, keep+1, "the rows of the others are gone")
	_, err = h.Rollback(t.Context(), first)
	require.ErrorIs(t, err, ErrNoVersion)

	// Its name is known: a hub with those files does not undo the rest.
	old := newHub(t, reply("0"))
	require.NoError(t, old.Start(t.Context(), Place{KV: kv, Hub: "old", Shared: true}))
	require.Equal(t, h.answers(t), old.answers(t))
}

func TestAHubThatStartsWithOlderFilesFollowsAndSaysSo(t *testing.T) {
	kv := newMemory()
	one := newHub(t, reply("old"))
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
	old := one.Status().Version.Version
	one.edit(reply("new"))
	_, err := one.Reload(t.Context())
	require.NoError(t, err)

	two := newHub(t, reply("old"))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	require.Equal(t, "new", two.answers(t))
	require.Equal(t, one.Status().Version, two.Status().Version)
	require.Regexp(t, `level=WARN .*files=`+old+` version=`+one.Status().Version.Version+` number=2 cause=reload hub=one`, two.logs.String())

	// Files that never were in force are a change by the operator.
	three := newHub(t, reply("newest"))
	require.NoError(t, three.Start(t.Context(), Place{KV: kv, Hub: "three", Shared: true}))
	require.Eventually(t, func() bool { return one.answers(t) == "newest" && two.answers(t) == "newest" }, 10*time.Second, time.Millisecond)
}

func TestFilesDecideWhereThereIsOneHubUnlessTheyWereRolledBack(t *testing.T) {
	kv := newMemory()
	start := func(text string) *hub {
		h := newHub(t, reply(text))
		require.NoError(t, h.Start(t.Context(), Place{KV: kv}))
		return h
	}
	start("a")
	start("b")
	h := start("a")
	require.Equal(t, "a", h.answers(t), "older files, by the operator's will")
	_, err := h.Rollback(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "b", h.answers(t))

	h = start("a")
	require.Equal(t, "b", h.answers(t), "a restart does not undo a rollback")
	require.Regexp(t, `level=WARN msg="rules of the files were in force before: .*rules reload puts the files into force.* cause=rollback\n`, h.logs.String())
	require.Regexp(t, `level=INFO msg="rules of the database are in force" .* version=`+h.Status().Version.Version+` `, h.logs.String())
	require.NotContains(t, h.logs.String(), "hub", "there is no other, and this one has no name")
	require.Zero(t, h.metric(t, "wildcat_rules_reloads_total")[resultFollowed])
	_, err = h.Reload(t.Context())
	require.NoError(t, err)
	require.Equal(t, "a", h.answers(t))
	_, err = h.Rollback(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "c", start("c").answers(t), "files that were changed are in force")
}

func TestAStartThatLeavesNoRuleWarnsAndTheRulesCanBeHadBack(t *testing.T) {
	for name, none := range map[string]string{"nothing is said about rules": "", "there are to be none": noFiles} {
		t.Run(name, func(t *testing.T) {
			kv := newMemory()
			before := newHub(t, reply("1"))
			require.NoError(t, before.Start(t.Context(), Place{KV: kv}))
			require.NotContains(t, before.logs.String(), "level=WARN")

			h := newHub(t, none)
			require.NoError(t, h.Start(t.Context(), Place{KV: kv}))
			require.Empty(t, h.answers(t), "the files decide at a start")
			require.Regexp(t, `level=WARN msg="no rules are in force any more: .* before=`+before.Status().Version.Version+` rules_before=1\n`, h.logs.String())

			h = newHub(t, none)
			require.NoError(t, h.Start(t.Context(), Place{KV: kv}))
			require.NotContains(t, h.logs.String(), "level=WARN", "it is no news")
			_, err := h.Rollback(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "1", h.answers(t))
			h = newHub(t, none)
			require.NoError(t, h.Start(t.Context(), Place{KV: kv}))
			require.Equal(t, "1", h.answers(t), "nor does a restart undo that")
			hint := `level=WARN msg="rules of the files were in force before: .*\(rules reload puts the files into force\)`
			if none == "" {
				hint = `level=WARN msg="the configuration says nothing about rules: those of the rollback stay in force`
			}
			require.Regexp(t, hint, h.logs.String())
		})
	}
}

func TestAHubThatComesBackToItsOwnRollbackDoesNotCallItAnothers(t *testing.T) {
	kv := newMemory()
	place := Place{KV: kv, Hub: "one", Shared: true}
	h := newHub(t, reply("a"))
	require.NoError(t, h.Start(t.Context(), place))
	h.edit(reply("b"))
	_, err := h.Reload(t.Context())
	require.NoError(t, err)
	_, err = h.Rollback(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, h.Stop(t.Context()))

	h = newHub(t, reply("b"))
	require.NoError(t, h.Start(t.Context(), place))
	require.Equal(t, "a", h.answers(t))
	require.Regexp(t, `msg="rules of the database are in force" .* hub=one `, h.logs.String())
	require.NotContains(t, h.logs.String(), "another hub")
	two := newHub(t, reply("b"))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	require.Regexp(t, `msg="rules of another hub are in force" .* hub=one `, two.logs.String())
}

func TestAHubThatSaysNothingAboutRulesTakesThoseOfOthersAndTakesNoneAway(t *testing.T) {
	kv := newMemory()
	one, two := newHub(t, reply("1")), newHub(t, "")
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	require.Equal(t, "1", two.answers(t))
	_, err := two.Reload(t.Context())
	require.ErrorIs(t, err, ErrSilent)
	require.Equal(t, "1", two.answers(t))
	one.edit(reply("2"))
	_, err = one.Reload(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return two.answers(t) == "2" }, 10*time.Second, time.Millisecond)
	_, err = two.Rollback(t.Context(), "")
	require.NoError(t, err, "it may go back all the same")

	// By itself it has none, and says so to nobody.
	alone := newHub(t, "")
	require.NoError(t, alone.Start(t.Context(), Place{KV: newMemory()}))
	require.Empty(t, alone.answers(t))
	_, err = alone.Reload(t.Context())
	require.NoError(t, err)
}

func TestAVersionWhoseFilesAreLostDoesNotKeepAHubFromStarting(t *testing.T) {
	kv := newMemory()
	one := newHub(t, reply("1"))
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
	one.edit(reply("2"))
	c, err := one.Reload(t.Context())
	require.NoError(t, err)
	require.NoError(t, kv.SetKV(t.Context(), namespace, c.Version.Row, nil, 0))
	two := newHub(t, reply("1"))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	require.Equal(t, "1", two.answers(t))
	require.ErrorContains(t, two.Status().Behind.Err, "the database has them no more")
}

func TestTheLargestSetGoesThroughAStore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 255<<10)
	texts := make([]string, 16)
	for i := range texts {
		for j := range noise {
			noise[j] = byte('!' + random.IntN(90)) // compresses badly
		}
		texts[i] = reply("x") + "--" + string(noise)
	}
	require.Equal(t, 16, lua.MaxBundle>>18)
	one, two := newHub(t, strings.Join(texts, "\x00")), newHub(t, reply("small"))
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	require.NoError(t, two.Start(t.Context(), Place{KV: st, Hub: "two", Shared: true}))
	require.NoError(t, one.Start(t.Context(), Place{KV: st, Hub: "one", Shared: true}))
	require.Eventually(t, func() bool { return len(two.Status().Rules) == 16 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, errors.Join(one.Stop(t.Context()), two.Stop(t.Context())))
}

func TestRulesThatDoNotLoadHereLeaveTheOldOnesInForce(t *testing.T) {
	kv := newMemory()
	one, two := newHub(t, reply("1")), newHub(t, reply("1"))
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	// A later version of the program knows a trigger that this one does not.
	b := lua.Read(one.file(`wildcat.on("message", { mood = "good" }, function() end)`))
	rec, stored, err := one.history.read(t.Context())
	require.NoError(t, err)
	v, err := one.history.publish(t.Context(), rec, stored, b, CauseReload)
	require.NoError(t, err)

	require.Eventually(t, func() bool { return two.Status().Behind != nil }, 10*time.Second, time.Millisecond)
	require.Equal(t, v.Version, two.Status().Behind.Version)
	require.ErrorContains(t, two.Status().Behind.Err, `unknown trigger "mood"`)
	require.True(t, Unusable(two.Status().Behind.Err))
	require.Equal(t, "1", two.answers(t))
	require.NoError(t, two.Follow(t.Context()))
	require.Equal(t, 1, strings.Count(two.logs.String(), "cannot be loaded here"), "said once")
	require.Equal(t, map[string]float64{"": 1}, two.metric(t, "wildcat_rules_behind"))

	_, err = two.Reload(t.Context())
	require.NoError(t, err)
	require.Nil(t, two.Status().Behind)
	require.Eventually(t, func() bool { return one.Status().Behind == nil && one.answers(t) == "1" }, 10*time.Second, time.Millisecond)
}

func TestAnOutageKeepsTheRulesAndEndsWithIt(t *testing.T) {
	kv := newMemory()
	one, two := newHub(t, reply("1")), newHub(t, reply("1"))
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Shared: true}))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Shared: true}))
	kv.broken(store.ErrAway)
	one.edit(reply("2"))
	_, err := one.Reload(t.Context())
	require.ErrorIs(t, err, store.ErrAway)
	require.ErrorIs(t, two.Follow(t.Context()), store.ErrAway)
	require.Equal(t, "1", one.answers(t))
	kv.broken(nil)
	_, err = one.Reload(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return two.answers(t) == "2" }, 10*time.Second, time.Millisecond)
}

func TestAChangeThatIsNotWaitedForIsGivenUp(t *testing.T) {
	h := newHub(t, reply("1"))
	require.NoError(t, h.Start(t.Context(), Place{KV: newMemory()}))
	<-h.turn // somebody else's
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Reload(ctx)
	require.ErrorIs(t, err, context.Canceled)
	h.turn <- struct{}{}
	h.err = errors.New("no file")
	_, err = h.Reload(t.Context())
	require.EqualError(t, err, "no file")
}
