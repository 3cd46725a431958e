//go:build unix

package connector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
)

// desk is a Host that notes what it is asked.
type desk struct{ sent chan sdk.Outgoing }

func (d *desk) Send(_ context.Context, ref string, m sdk.Outgoing) (string, error) {
	d.sent <- m
	return "id-of-" + ref, nil
}

func (*desk) Media(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("no such media")
}
func (*desk) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (*desk) Set(context.Context, string, []byte) error         { return nil }

func TestAProgramTakesDeliveriesAndReachesTheHost(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := program(t, "ok", nil, Deps{Registerer: reg})
	d := &desk{sent: make(chan sdk.Outgoing, 1)}
	require.NoError(t, p.Start(t.Context(), d))
	require.Equal(t, sdk.Info{Type: "prog", Version: "1.2.3", InFlight: 32}, p.Info())
	require.Equal(t, StateReady, p.Status().State)

	r := p.Deliver(t.Context(), text("chat", 1, "pid"))
	require.Equal(t, sdk.Result{Status: sdk.OK, Code: p.Status().PID}, r)
	r = p.Deliver(t.Context(), text("chat", 2, "send"))
	require.Equal(t, "id-of-ref-chat-2<nil>", r.Body)
	require.Equal(t, sdk.Outgoing{Account: "a", To: "chat", Text: "hi"}, <-d.sent)
	require.Equal(t, sdk.Result{Reason: "panic"}, p.Deliver(t.Context(), text("chat", 3, "panic")))
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 4, "")).Status)

	require.Equal(t, 1.0, metric(t, reg, "wildcat_connector_up"))
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Stop(t.Context()), "twice")
	require.Equal(t, 0.0, metric(t, reg, "wildcat_connector_up"))
	require.Equal(t, "connector_down", p.Deliver(t.Context(), text("chat", 5, "")).Reason)
	require.Error(t, p.Start(t.Context(), nil))
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			require.Equal(t, "c", m.GetLabel()[0].GetValue())
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestStopWithoutStart(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.Equal(t, StateNew, p.Status().State)
	r := p.Deliver(t.Context(), text("chat", 1, ""))
	require.Equal(t, sdk.Result{Uncounted: true, Reason: "connector_down", After: time.Second}, r)
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Stop(t.Context()))
}

func TestAProgramGetsFewVariablesAndItsFolder(t *testing.T) {
	t.Setenv("WILDCAT_SECRET_KEY", "hunter2")
	dir := t.TempDir()
	p := program(t, "ok", func(c *ProcessConfig) { c.Dir = dir; c.Env = append(c.Env, "MORE=1") }, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	env := p.Deliver(t.Context(), text("chat", 1, "env")).Body
	require.NotContains(t, env, "hunter2")
	require.NotContains(t, env, "HOME=")
	require.Contains(t, env, "PATH=")
	require.Contains(t, env, "MORE=1")
	require.Equal(t, dir, p.Deliver(t.Context(), text("chat", 2, "dir")).Body)
}

func TestOrderPerChatHoldsUnderConcurrency(t *testing.T) {
	log := t.TempDir() + "/log"
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(fmt.Sprintf(`{"log":%q}`, log))))
	require.NoError(t, p.Start(t.Context(), nil))
	var wg sync.WaitGroup
	var bad atomic.Int64
	for chat := range 10 {
		wg.Go(func() {
			for seq := range uint64(20) {
				if p.Deliver(t.Context(), text(fmt.Sprint("chat", chat), seq+1, "")).Status != sdk.OK {
					bad.Add(1)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, bad.Load())
	last := map[string]int{}
	for _, l := range logged(t, log) {
		require.Equal(t, last[l.chat]+1, l.seq, "chat %s", l.chat)
		last[l.chat] = l.seq
	}
	require.Len(t, last, 10)
}

type entryOfLog struct {
	chat         string
	seq, attempt int
}

func logged(t *testing.T, path string) (out []entryOfLog) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		var e entryOfLog
		_, err := fmt.Sscan(line, &e.chat, &e.seq, &e.attempt)
		require.NoError(t, err)
		out = append(out, e)
	}
	return out
}

func TestAPinnedProgramRunsAndAnotherIsRefused(t *testing.T) {
	b, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	sum := sha256.Sum256(b)
	p := program(t, "ok", func(c *ProcessConfig) { c.SHA256 = hex.EncodeToString(sum[:]) }, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)

	sum[0]++
	other := program(t, "ok", func(c *ProcessConfig) { c.SHA256 = hex.EncodeToString(sum[:]) }, Deps{})
	require.ErrorContains(t, other.Start(t.Context(), nil), "is pinned to "+hex.EncodeToString(sum[:]))
	s := other.Status()
	require.Equal(t, StateFailed, s.State)
	require.Equal(t, "checksum", s.Reason)
	r := other.Deliver(t.Context(), text("chat", 1, ""))
	require.True(t, r.Uncounted)
	require.Greater(t, r.After, 10*time.Minute)
}

func TestARefusedConfigurationFailsAtOnce(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(`{"bad":true}`)))
	var mistake *sdk.ConfigError
	_, err := p.Check(t.Context())
	require.ErrorAs(t, err, &mistake)
	require.Equal(t, "bad", mistake.Path)
	mistake = nil
	require.ErrorAs(t, p.Start(t.Context(), nil), &mistake)
	require.Equal(t, "configuration", p.Status().Reason)
	require.Equal(t, StateFailed, p.Status().State)
	require.ErrorAs(t, p.Configure(json.RawMessage(`[]`)), &mistake)
}

func TestCheckAsksAndLeavesNothing(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	info, err := p.Check(t.Context())
	require.NoError(t, err)
	require.Equal(t, "prog", info.Type)
	require.Equal(t, StateNew, p.Status().State)
}

func TestAnotherVersionFailsAtOnce(t *testing.T) {
	p := program(t, "version", nil, Deps{})
	require.ErrorContains(t, p.Start(t.Context(), nil), "speaks version 99 of the contract, this hub speaks 1")
	require.Equal(t, "version", p.Status().Reason)
}

func TestNoiseBeforeTheHandshakeIsNamed(t *testing.T) {
	p := program(t, "noise", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil), "it may do better next time")
	require.Contains(t, p.Status().LastError, `printed "Loading configuration, please wait`)
}

func TestAProgramThatIsMissingIsSaidSo(t *testing.T) {
	p := program(t, "ok", func(c *ProcessConfig) { c.Path = "/does/not/exist" }, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Contains(t, p.Status().LastError, "no such file")
	eventually(t, "gives up", func() bool { return p.Status().State == StateFailed })
}

func TestACrashLoopFailsWithItsLastWords(t *testing.T) {
	p := program(t, "exit", nil, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	eventually(t, "gives up", func() bool { return p.Status().State == StateFailed })
	s := p.Status()
	require.Equal(t, "crash_loop", s.Reason)
	require.Equal(t, "program ended: exit status 3: panic: the disk is on fire", s.LastError)
	require.Equal(t, 4, s.Restarts)
	require.Equal(t, "connector_down", p.Deliver(t.Context(), text("chat", 1, "")).Reason)
}

func TestAStartThatFailsIsTriedAgain(t *testing.T) {
	p := program(t, "ok", func(c *ProcessConfig) { c.Timing.HalfOpen = 20 * time.Millisecond }, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(`{"no_start":true}`)))
	require.NoError(t, p.Start(t.Context(), nil))
	require.Contains(t, p.Status().LastError, "the other side is away")
	eventually(t, "gives up", func() bool { return p.Status().State == StateFailed })
	require.NoError(t, p.Configure(json.RawMessage(`{}`)))
	eventually(t, "is tried again all the same", func() bool { return p.Status().State == StateReady })
}

func TestAProgramThatWasGivenUpIsStartedWhenAskedFor(t *testing.T) {
	p := program(t, "ok", nil, Deps{})
	require.NoError(t, p.Configure(json.RawMessage(`{"bad":true}`)))
	require.Error(t, p.Start(t.Context(), nil))
	require.Equal(t, StateFailed, p.Status().State)
	require.NoError(t, p.Retry(t.Context()))
	eventually(t, "fails again", func() bool { return p.Status().State == StateFailed })
	require.NoError(t, p.Configure(json.RawMessage(`{}`)))
	require.NoError(t, p.Retry(t.Context()))
	require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status, "it is waited for")
	require.NoError(t, p.Retry(t.Context()))
	require.Equal(t, 2, p.Status().Restarts)
}

func TestAMuteProgramTimesOut(t *testing.T) {
	p := program(t, "mute", func(c *ProcessConfig) { c.Timing.Start = 300 * time.Millisecond }, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	require.Contains(t, p.Status().LastError, "timeout")
}

func TestStopInterruptsAStart(t *testing.T) {
	p := program(t, "mute", nil, Deps{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, p.Start(ctx, nil))
	began := time.Now()
	require.NoError(t, p.Stop(t.Context()))
	require.Less(t, time.Since(began), 3*time.Second)
}
