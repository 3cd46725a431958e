package connector

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
)

func TestNoProgramOutlivesAKilledHub(t *testing.T) {
	dir := runDir(t)
	host := exec.CommandContext(t.Context(), os.Args[0])
	host.Env = append(os.Environ(), roleEnv+"=host:"+dir)
	in, err := host.StdinPipe()
	require.NoError(t, err)
	defer func() { _ = in.Close() }()
	out, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	var pid int
	_, err = fmt.Fscan(bufio.NewReader(out), &pid)
	require.NoError(t, err)
	require.False(t, dead(pid))
	began := time.Now()
	require.NoError(t, host.Process.Signal(syscall.SIGKILL))
	for !dead(pid) && time.Since(began) < 5*time.Second {
		time.Sleep(time.Millisecond)
	}
	t.Logf("gone after %s", time.Since(began))
	require.Less(t, time.Since(began), 100*time.Millisecond)
	require.Error(t, host.Wait())

	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "a hub that is killed cannot remove its sockets")
	require.Equal(t, 1, RemoveStale(dir), "but the next one does")
}

func TestTwentyRestartsLeaveNothing(t *testing.T) {
	p := program(t, "ok", func(c *ProcessConfig) { c.Timing.Healthy = time.Nanosecond }, Deps{})
	require.NoError(t, p.Start(t.Context(), nil))
	die := func() {
		require.Equal(t, "connector_lost", p.Deliver(t.Context(), text("chat", 1, "die")).Reason)
		require.Equal(t, sdk.OK, p.Deliver(t.Context(), text("chat", 1, "")).Status)
	}
	die()
	goroutines, files := settled(runtime.NumGoroutine), settled(descriptors)
	for range 20 {
		die()
	}
	require.Equal(t, 21, p.Status().Restarts)
	require.LessOrEqual(t, settled(runtime.NumGoroutine), goroutines)
	require.LessOrEqual(t, settled(descriptors), files)
	left, err := os.ReadDir(p.cfg.RunDir)
	require.NoError(t, err)
	require.Len(t, left, 1, "the running one's")
}

func BenchmarkDeliver(b *testing.B) {
	p := NewProcess(ProcessConfig{Name: "c", Path: os.Args[0], Env: []string{roleEnv + "=ok"}}, Deps{})
	if err := p.Start(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	var chat atomic.Int64
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		name := fmt.Sprint("chat", chat.Add(1))
		for seq := uint64(1); pb.Next(); seq++ {
			if r := p.Deliver(b.Context(), text(name, seq, "")); r.Status != sdk.OK {
				b.Errorf("%+v", r)
				return
			}
		}
	})
	b.StopTimer()
	if err := p.Stop(context.WithoutCancel(b.Context())); err != nil {
		b.Fatal(err)
	}
}

// settled waits until the number has stood still for a moment.
func settled(count func() int) int {
	n, since := count(), time.Now()
	for time.Since(since) < 200*time.Millisecond {
		time.Sleep(10 * time.Millisecond)
		if c := count(); c != n {
			n, since = c, time.Now()
		}
	}
	return n
}

func descriptors() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(fds)
}
