package connector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
)

// session is one run of the program. Nothing in it is used again for the next: a
// go-plugin client, its configuration and its command are good for one start.
type session struct {
	p      *Process
	dir    string // private, for sockets
	bin    *os.File
	proc   *proc
	config *plugin.ClientConfig
	client *plugin.Client
	peer   *wire.Peer
	stream *wire.Stream
	info   sdk.Info
}

// inherited are the variables of the hub's environment that a program gets.
func inherited() []string {
	var env []string
	for _, k := range []string{"PATH", "LANG", "TZ", "TMPDIR", "GOMEMLIMIT", "SystemRoot"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// launch starts the program and brings it to where it takes deliveries.
func (p *Process) launch(ctx context.Context, host sdk.Host) (*session, *failure) {
	s, fail := p.spawn(ctx)
	if fail != nil {
		return nil, fail
	}
	if fail := s.begin(ctx, host); fail != nil {
		if ctx.Err() == nil {
			fail = s.explain(fail)
		}
		s.kill()
		s.end(ctx)
		return nil, fail
	}
	return s, nil
}

// spawn starts the program and asks what it is.
func (p *Process) spawn(ctx context.Context) (_ *session, fail *failure) {
	s := &session{p: p}
	defer func() {
		if fail != nil {
			s.kill()
			s.end(ctx)
		}
	}()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, s.proc.kill)()
	if _, err := s.client.Start(); err != nil {
		return nil, s.handshakeFailure(err)
	}
	protocol, err := s.client.Client()
	if err != nil {
		return nil, s.explain(failed(reasonStart, "connect: %w", err))
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return nil, failed(reasonStart, "dispense: %w", err)
	}
	s.peer, _ = raw.(*wire.Peer)
	call, cancel := context.WithTimeout(ctx, p.cfg.Timing.Start)
	defer cancel()
	if s.info, err = s.peer.Describe(call); err != nil {
		return nil, s.explain(failed(reasonStart, "%w", err))
	}
	return s, nil
}

func (s *session) prepare() *failure {
	cfg := s.p.cfg
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return hopeless(reasonStart, "program: %w", err)
	}
	if s.dir, err = privateDir(cfg.RunDir, cfg.Name); err != nil {
		return failed(reasonStart, "make socket folder: %w", err)
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{path}, cfg.Args...), Dir: cfg.Dir}
	if cfg.SHA256 != "" {
		if s.bin, err = pinned(path, cfg.SHA256); err != nil {
			var f *failure
			if errors.As(err, &f) {
				return f
			}
			return failed(reasonStart, "%w", err)
		}
		execute(cmd, s.bin)
	}
	setAttributes(cmd)
	out := newOutput(s.p.log, s.p.deps.Now)
	s.proc = newProc(cmd, out)
	env := append(append(inherited(), cfg.Env...), sdk.LifelineEnv+"=stdin")
	s.config = &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: wire.Plugins(),
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(env, spec.Env...)
			return s.proc, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     cfg.Timing.Start,
		GRPCDialOptions:  wire.DialOptions(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.dir},
		Logger:           hclog.NewNullLogger(), // what matters is logged here
		SyncStdout:       out.writer("stdout"),
		SyncStderr:       out.writer("stderr"),
	}
	s.client = plugin.NewClient(s.config)
	return nil
}

// begin configures and starts the connector, and opens the stream.
func (s *session) begin(ctx context.Context, host sdk.Host) *failure {
	ctx, cancel := context.WithTimeout(ctx, s.p.cfg.Timing.Start)
	defer cancel()
	stop := s.cancelOnExit(cancel)
	defer stop()
	s.p.mu.Lock()
	with := s.p.with
	s.p.mu.Unlock()
	if err := s.peer.Configure(ctx, with); err != nil {
		var mistake *sdk.ConfigError
		if errors.As(err, &mistake) {
			return hopeless(reasonConfig, "%w", err)
		}
		return failed(reasonStart, "%w", err)
	}
	if err := s.peer.Start(ctx, host, s.config.TLSConfig); err != nil {
		return failed(reasonStart, "%w", err)
	}
	var err error
	if s.stream, err = s.peer.Open(ctx, wire.StreamConfig{Answer: s.p.cfg.Timing.Answer}); err != nil {
		return failed(reasonStart, "%w", err)
	}
	return nil
}

// cancelOnExit calls cancel when the process ends. The returned function stops the
// watching and waits for it.
func (s *session) cancelOnExit(cancel context.CancelFunc) func() {
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-s.proc.exited:
			cancel()
		case <-done:
		}
	}()
	return func() { close(done); <-gone }
}

// handshakeFailure says what is wrong with a program that did not shake hands.
func (s *session) handshakeFailure(err error) *failure {
	if s.proc.PID() == 0 {
		return failed(reasonStart, "start program: %w", err)
	}
	if strings.Contains(err.Error(), "timeout while waiting") && s.proc.out.printed() == "" {
		return failed(reasonStart, "timeout: no handshake within %s", s.p.cfg.Timing.Start)
	}
	head := s.proc.out.printed()
	line, _, _ := strings.Cut(head, "\n")
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 4 {
		if strings.TrimSpace(head) != "" {
			return failed(reasonHandshake, "printed %q on standard output before the handshake: log to standard error instead", strings.TrimSpace(head))
		}
		return s.explain(failed(reasonStart, "%w", err))
	}
	if version, perr := strconv.Atoi(parts[1]); perr == nil && version != sdk.ProtocolVersion {
		return hopeless(reasonVersion, "speaks version %d of the contract, this hub speaks %d", version, sdk.ProtocolVersion)
	}
	return failed(reasonHandshake, "shake hands: %w", err)
}

// explain prefers the program's end, if it has ended, to the error that it caused.
func (s *session) explain(fail *failure) *failure {
	if fail.permanent {
		return fail
	}
	select {
	case <-s.proc.exited:
	case <-time.After(50 * time.Millisecond): // a connection may break a moment before the exit is seen
		return fail
	}
	select {
	case <-s.proc.closed: // for its last words
	case <-time.After(2 * pipeGrace):
	}
	how := "exit status 0"
	if err := s.proc.exit(); err != nil {
		how = err.Error()
	}
	words := s.proc.out.lastWords()
	if words != "" {
		words = ": " + words
	}
	reason := fail.reason
	if reason == reasonStream {
		reason = reasonExit
	}
	return failed(reason, "program ended: %s%s", how, words)
}

// pinned opens the program and proves that it is the one that was meant.
func pinned(path, want string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("read program: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, strings.TrimSpace(want)) {
		_ = f.Close()
		return nil, hopeless(reasonChecksum, "%s has SHA-256 %s and is pinned to %s", path, got, want)
	}
	return f, nil
}
