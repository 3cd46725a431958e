//go:build unix

package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
)

func TestAKilledProgramComesBackAndNoDeliveryIsLost(t *testing.T) {
	log := t.TempDir() + "/log"
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(fmt.Sprintf(`{"log":%q}`, log))))
	require.NoError(t, p.Start(t.Context(), nil))
	first := p.Status().PID
	var wg sync.WaitGroup
	lost := make(chan string, 1000)
	for chat := range 8 {
		wg.Go(func() {
			for seq := uint64(1); seq <= 40; seq++ {
				for d := text(fmt.Sprint("chat", chat), seq, "slow"); ; d.Attempt++ {
					r := p.Deliver(t.Context(), d)
					if r.Status == sdk.OK {
						break
					}
					lost <- r.Reason
				}
			}
		})
	}
	time.Sleep(30 * time.Millisecond)
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	wg.Wait()
	close(lost)
	n := 0
	for reason := range lost {
		require.Contains(t, []string{"connector_lost", "connector_down"}, reason)
		n++
	}
	require.Positive(t, n, "the kill met deliveries")
	s := p.Status()
	require.NotEqual(t, first, s.PID)
	require.Equal(t, 1, s.Restarts)
	require.Equal(t, "program ended: signal: killed", s.LastError)
	seen := map[string]int{}
	for _, e := range logged(t, log) {
		require.LessOrEqual(t, e.seq, seen[e.chat]+1, "nothing is skipped")
		seen[e.chat] = max(seen[e.chat], e.seq)
	}
	for chat, last := range seen {
		require.Equal(t, 40, last, chat)
	}
}

func TestACrashIsNoticedAndMendedSoon(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	began := time.Now()
	require.Equal(t, sdk.Result{Reason: "connector_lost"}, p.Deliver(t.Context(), text("chat", 1, "die")))
	noticed := time.Since(began)
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)
	t.Logf("noticed after %s, served after %s", noticed, time.Since(began))
	require.Less(t, noticed, 500*time.Millisecond)
}

func TestAProgramThatExitsByItselfIsStartedAgain(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Equal(t, "connector_lost", p.Deliver(t.Context(), text("chat", 1, "exit")).Reason)
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)
	require.Equal(t, "program ended: exit status 7", p.Status().LastError)
}

func TestAStoppedProgramIsNoticed(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	pid := p.Status().PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	eventually(t, "replaced", func() bool { s := p.Status(); return s.State == StateReady && s.PID != pid })
	require.Contains(t, p.Status().LastError, "no sign of health 3 times")
	require.True(t, dead(pid))
}

func TestAnEventThatHangsTimesOutAndAStallIsEnded(t *testing.T) {
	p := program(t, "ok", func(c *ProcessConfig) {
		c.Timing.Answer = 200 * time.Millisecond
	}, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Equal(t, sdk.Result{Reason: "gave up"}, p.Deliver(t.Context(), text("chat", 1, "wait")), "its context ends before the hub's patience")
	require.Equal(t, sdk.Result{Reason: "timeout"}, p.Deliver(t.Context(), text("chat", 2, "hang")))
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("other", 1, "")).Status)
}

func TestAFloodOfOutputStopsNobody(t *testing.T) {
	var logs safeBuffer
	p := program(t, "flood", nil, Deps{Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	require.NoError(t, p.Start(t.Context(), nil))
	for seq := range uint64(50) {
		require.Equal(t, sdk.Result{Status: sdk.OK}, p.Deliver(t.Context(), text("chat", seq+1, "slow")))
	}
	require.NoError(t, p.Stop(t.Context()))
	require.Less(t, logs.Len(), 4<<20)
	require.Contains(t, logs.String(), "connector prints too much")
	for line := range strings.Lines(logs.String()) {
		require.Less(t, len(line), 4<<10)
	}
}

func TestOutputIsLogged(t *testing.T) {
	var logs safeBuffer
	p := program(t, "ok", nil, Deps{Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "print")).Status)
	eventually(t, "both lines", func() bool {
		return strings.Contains(logs.String(), `line="printed to stdout"`) && strings.Contains(logs.String(), `line="printed to stderr"`)
	})
	require.Contains(t, logs.String(), "level=INFO msg=\"connector output\" component=connector connector=c")
}

func TestGrandchildrenDieWithTheProgram(t *testing.T) {
	file := t.TempDir() + "/pid"
	p := program(t, "grandchild:"+file, nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	var pid int
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = fmt.Sscan(string(b), &pid)
	require.NoError(t, err)
	require.False(t, dead(pid))
	began := time.Now()
	require.Equal(t, "connector_lost", p.Deliver(t.Context(), text("chat", 1, "die")).Reason)
	eventually(t, "the grandchild is gone", func() bool { return dead(pid) })
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestAnEscapedGrandchildHoldingThePipesHangsNobody(t *testing.T) {
	p := program(t, "escapee", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	began := time.Now()
	require.Equal(t, "connector_lost", p.Deliver(t.Context(), text("chat", 1, "die")).Reason)
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)
	require.Less(t, time.Since(began), 2500*time.Millisecond)
}

func TestAProgramThatWillNotStopIsKilled(t *testing.T) {
	p := program(t, "ok", func(c *ProcessConfig) { c.Timing.Drain, c.Timing.Kill = 200*time.Millisecond, 200*time.Millisecond }, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(`{"slow_stop":true}`)))
	require.NoError(t, p.Start(t.Context(), nil))
	pid := p.Status().PID
	began := time.Now()
	require.NoError(t, p.Stop(t.Context()))
	require.Less(t, time.Since(began), 3*time.Second)
	require.True(t, dead(pid))
}

func TestStopLetsWhatIsInFlightFinish(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	got := make(chan sdk.Result, 20)
	for i := range 20 {
		go func() { got <- p.Deliver(context.WithoutCancel(t.Context()), text(fmt.Sprint("chat", i), 1, "slow")) }()
	}
	time.Sleep(3 * time.Millisecond)
	require.NoError(t, p.Stop(t.Context()))
	for range 20 {
		r := <-got
		require.True(t, r.Status == sdk.OK || r.Uncounted, "%+v", r)
	}
}

func TestTheScheduleBacksOffGivesUpAndTriesAgain(t *testing.T) {
	s := schedule{t: Timing{}.withDefaults(), random: func() float64 { return 0.5 }}
	now := time.Unix(0, 0)
	next := func(after, healthy time.Duration, permanent bool) string {
		now = now.Add(after)
		wait, failed := s.next(now, healthy, permanent)
		return fmt.Sprint(wait, failed)
	}
	for _, want := range []string{"0s false", "1s false", "2s false", "4s false", "15m0s true"} {
		require.Equal(t, want, next(time.Second, time.Minute, false))
	}
	require.Equal(t, "15m0s true", next(15*time.Minute, time.Minute, false), "half open: one failure is enough")
	require.Equal(t, "0s false", next(20*time.Minute, 5*time.Minute, false), "healthy for long enough: all is forgotten")
	require.Equal(t, "15m0s true", next(time.Second, 0, true))

	s = schedule{t: Timing{}.withDefaults(), random: func() float64 { return 0 }}
	var waits []string
	for range 9 {
		waits = append(waits, next(4*time.Minute, time.Minute, false))
	}
	require.Equal(t, "0s 800ms 1.6s 3.2s 6.4s 12.8s 25.6s 48s 48s", strings.ReplaceAll(strings.Join(waits, " "), " false", ""))
}

// dead says whether the process is gone, or a zombie that nobody has buried.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(b, []byte(") "))
	return len(rest) == 0 || rest[0] == 'Z' || rest[0] == 'X'
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *safeBuffer) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Len()
}
