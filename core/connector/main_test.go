//go:build unix

package connector

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"go.uber.org/goleak"
)

// The test binary is also the programs that the tests start: roleEnv says which.
const roleEnv = "WILDCAT_TEST_ROLE"

func TestMain(m *testing.M) {
	role, arg, _ := strings.Cut(os.Getenv(roleEnv), ":")
	switch role {
	case "":
		goleak.VerifyTestMain(m)
		return
	case "host":
		playHost(arg)
	case "noise":
		fmt.Println("Loading configuration, please wait")
		sdk.Serve(func() sdk.Connector { return &prog{} })
	case "version":
		fmt.Println("1|99|unix|/nowhere|grpc|")
		time.Sleep(time.Minute)
	case "exit":
		fmt.Fprintln(os.Stderr, "panic: the disk is on fire")
		os.Exit(3)
	case "mute":
		time.Sleep(time.Minute)
	case "flood":
		sdk.Serve(func() sdk.Connector { return &prog{flood: true} })
	case "grandchild":
		c := exec.Command("sleep", "60")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			panic(err)
		}
		_ = os.WriteFile(arg, []byte(strconv.Itoa(c.Process.Pid)), 0o600)
		sdk.Serve(func() sdk.Connector { return &prog{} })
	case "escapee": // a grandchild of another session, which no group kill reaches
		c := exec.Command("setsid", "sleep", "3")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Start(); err != nil {
			panic(err)
		}
		sdk.Serve(func() sdk.Connector { return &prog{} })
	default:
		sdk.Serve(func() sdk.Connector { return &prog{} })
	}
	os.Exit(0)
}

// flood prints lines long and short without end, to both outputs.
func flood() {
	long := strings.Repeat("x", 100<<10)
	for {
		_, _ = fmt.Fprintln(os.Stderr, long)
		_, _ = syscall.Write(1, []byte(long+"\nshort\n"))
		time.Sleep(200 * time.Microsecond)
	}
}

// prog is the connector in the programs; the event's text says what to do with it.
type prog struct {
	host  sdk.Host
	flood bool
	with  struct {
		Log      string `json:"log"`
		Bad      bool   `json:"bad"`
		NoStart  bool   `json:"no_start"`
		SlowStop bool   `json:"slow_stop"`
	}
	mu sync.Mutex
}

func (*prog) Info() sdk.Info { return sdk.Info{Type: "prog", Version: "1.2.3", InFlight: 32} }

func (c *prog) Configure(with json.RawMessage) error {
	if err := json.Unmarshal(with, &c.with); err != nil {
		return err
	}
	if c.with.Bad {
		return &sdk.ConfigError{Path: "bad", Message: "must not be true"}
	}
	return nil
}

func (c *prog) Start(_ context.Context, h sdk.Host) error {
	if c.with.NoStart {
		return errors.New("the other side is away")
	}
	c.host = h
	if c.flood {
		go flood()
	}
	return nil
}

func (c *prog) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	c.note(d)
	text := ""
	if d.Event.Message != nil {
		text = d.Event.Message.Text
	}
	switch text {
	case "pid":
		return sdk.Result{Status: sdk.OK, Code: os.Getpid()}
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "panic":
		panic("at the disco")
	case "exit":
		os.Exit(7)
	case "wait":
		<-ctx.Done()
		return sdk.Result{Reason: "gave up"}
	case "hang":
		time.Sleep(2 * time.Second)
	case "slow":
		time.Sleep(5 * time.Millisecond)
	case "print":
		fmt.Println("printed to stdout")
		_, _ = fmt.Fprintln(os.Stderr, "printed to stderr")
	case "env":
		return sdk.Result{Status: sdk.OK, Body: strings.Join(os.Environ(), "\n")}
	case "dir":
		wd, _ := os.Getwd()
		return sdk.Result{Status: sdk.OK, Body: wd}
	case "send":
		id, err := c.host.Send(ctx, "ref-"+d.Event.ID, sdk.Outgoing{Account: d.Event.Account, To: d.Event.Chat, Text: "hi"})
		return sdk.Result{Status: sdk.OK, Body: fmt.Sprint(id, err)}
	}
	return sdk.Result{Status: sdk.OK}
}

func (c *prog) note(d sdk.Delivery) {
	if c.with.Log == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.OpenFile(c.with.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(f, "%s %d %d\n", d.Event.Chat, d.Event.Seq, d.Attempt)
	_ = f.Close()
}

func (c *prog) Stop(context.Context) error {
	if c.with.SlowStop {
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Minute)
	}
	return nil
}

// playHost is a hub of its own: it prints the pid of its connector, and lives until it is killed.
func playHost(runDir string) {
	p := NewProcess(ProcessConfig{Name: "c", Path: os.Args[0], Env: []string{roleEnv + "=ok"}, RunDir: runDir}, Deps{})
	if err := p.Start(context.Background(), nil); err != nil {
		panic(err)
	}
	fmt.Println(p.Status().PID)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// quick is patience for tests.
func quick() Timing {
	return Timing{
		Health: 50 * time.Millisecond, HealthTimeout: 300 * time.Millisecond, Drain: 2 * time.Second, Kill: time.Second,
		Backoff: 10 * time.Millisecond, MaxBackoff: 40 * time.Millisecond, Ready: 10 * time.Second,
	}
}

func program(t *testing.T, role string, change func(*ProcessConfig), deps Deps) *Process {
	t.Helper()
	cfg := ProcessConfig{Name: "c", Path: os.Args[0], Env: []string{roleEnv + "=" + role}, RunDir: runDir(t), Timing: quick()}
	if change != nil {
		change(&cfg)
	}
	if deps.Logger == nil && testing.Verbose() {
		deps.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	p := NewProcess(cfg, deps)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
		require.Equal(t, StateStopped, p.Status().State)
	})
	return p
}

// runDir is short enough for sockets, unlike t.TempDir, and must be empty at the end.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wct-")
	require.NoError(t, err)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "sockets are left behind")
		require.NoError(t, os.RemoveAll(dir))
	})
	return dir
}

func text(chat string, seq uint64, s string) sdk.Delivery {
	return sdk.Delivery{Ordered: true, Attempt: 1, Event: &sdk.Event{
		ID: fmt.Sprintf("%s-%d", chat, seq), Type: sdk.TypeMessage, Account: "a", Chat: chat, Seq: seq,
		Message: &sdk.Message{Text: s},
	}}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 2*time.Millisecond, what)
}
