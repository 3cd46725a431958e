package connector

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// pipeGrace is how long the rest of a dead process's output is read. Only a
// grandchild that left the process group can hold a pipe open for longer.
const pipeGrace = 200 * time.Millisecond

// proc is one start of one program, as go-plugin's runner. Unlike go-plugin's own it
// puts the program into a process group that dies as a whole, lets it die with the
// hub, and never lets a full or held pipe stop anybody: go-plugin itself reads the
// handshake line and nothing else.
type proc struct {
	cmd *exec.Cmd
	out *output

	exited chan struct{} // the process is gone
	closed chan struct{} // and its pipes are, too

	// what go-plugin reads
	stdout, stderr     *io.PipeReader
	toPlugin, endError *io.PipeWriter

	mu     sync.Mutex
	pid    int
	reaped bool
	abort  bool
	err    error
}

var _ runner.Runner = (*proc)(nil)

func newProc(cmd *exec.Cmd, out *output) *proc {
	p := &proc{cmd: cmd, out: out, exited: make(chan struct{}), closed: make(chan struct{})}
	p.stdout, p.toPlugin = io.Pipe()
	p.stderr, p.endError = io.Pipe()
	return p
}

var errAborted = errors.New("start was aborted")

// pipes are the child's standard files: [read, write] of each.
type pipes struct{ in, out, err [2]*os.File }

func openPipes() (p pipes, err error) {
	for _, pair := range []*[2]*os.File{&p.in, &p.out, &p.err} {
		if pair[0], pair[1], err = os.Pipe(); err != nil {
			p.close()
			return p, err
		}
	}
	return p, nil
}

func (p *pipes) close() {
	for _, f := range []*os.File{p.in[0], p.in[1], p.out[0], p.out[1], p.err[0], p.err[1]} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Start implements runner.Runner.
func (p *proc) Start(context.Context) error {
	files, err := openPipes()
	if err != nil {
		p.finish(err)
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = files.in[0], files.out[1], files.err[1]
	ready := make(chan error, 1)
	go p.own(files, ready) // ends with the process; Wait waits for it
	return <-ready
}

// own starts the process, waits for its end and cleans up behind it, all on one
// locked thread: Linux sends the parent-death signal when the thread that forked
// ends, not when the process does.
func (p *proc) own(files pipes, ready chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.mu.Lock()
	err := errAborted
	if !p.abort {
		if err = p.cmd.Start(); err == nil {
			p.pid = p.cmd.Process.Pid
			limitResources(p.pid)
		}
	}
	p.mu.Unlock()
	if err != nil {
		files.close()
		p.finish(err)
		ready <- err
		return
	}
	for _, f := range []*os.File{files.in[0], files.out[1], files.err[1]} {
		_ = f.Close() // the child has them now
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { p.out.pump(files.out[0], "stdout", p.toPlugin) })
	pumps.Go(func() { p.out.pump(files.err[0], "stderr", nil) })
	ready <- nil

	awaitExit(p.pid)
	p.mu.Lock()
	p.reaped = true
	killGroup(p.pid) // before the pid is free for others
	p.mu.Unlock()
	err = p.cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(p.exited)

	held := time.AfterFunc(pipeGrace, func() { _, _ = files.out[0].Close(), files.err[0].Close() })
	pumps.Wait()
	held.Stop()
	for _, f := range []*os.File{files.in[1], files.out[0], files.err[0]} {
		_ = f.Close()
	}
	p.release()
}

// finish marks a process that never ran as gone.
func (p *proc) finish(err error) {
	p.mu.Lock()
	p.reaped, p.err = true, err
	p.mu.Unlock()
	close(p.exited)
	p.release()
}

func (p *proc) release() {
	_, _ = p.toPlugin.Close(), p.endError.Close()
	close(p.closed)
}

// kill ends the process and all its descendants that stayed in its group, or keeps
// it from starting. It may be called at any time, and twice.
func (p *proc) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abort = true
	if p.pid != 0 && !p.reaped {
		killGroup(p.pid)
	}
}

// exit says how the process ended; nil while it runs, or when it ended with status 0.
func (p *proc) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Wait implements runner.AttachedRunner.
func (p *proc) Wait(context.Context) error {
	<-p.closed
	return p.exit()
}

// Kill implements runner.AttachedRunner.
func (p *proc) Kill(context.Context) error {
	p.kill()
	return nil
}

// ID implements runner.AttachedRunner; "" means that nothing was started.
func (p *proc) ID() string {
	if pid := p.PID(); pid != 0 {
		return strconv.Itoa(pid)
	}
	return "none" // so that go-plugin's Kill still cleans up
}

// PID is the process's id, 0 if it was never started.
func (p *proc) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Stdout implements runner.Runner: the handshake line, then silence until the end.
func (p *proc) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner: silence until the end, since output logs it.
func (p *proc) Stderr() io.ReadCloser { return p.stderr }

// Name implements runner.Runner.
func (p *proc) Name() string { return p.cmd.Path }

// Diagnose implements runner.Runner.
func (p *proc) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (p *proc) PluginToHost(network, addr string) (string, string, error) { return network, addr, nil }

// HostToPlugin implements runner.AddrTranslator.
func (p *proc) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }
