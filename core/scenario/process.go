// Package scenario plays the main job from outside, as an operator would: it starts
// the sandbox and the hub as processes of their own, plays phones over the sandbox's
// control API, receives webhooks, kills what is to be killed, and checks the promise
// on what phones, receivers and the hub's REST API show.
//
// The demo, the crash story and the benchmarks share it. It imports nothing of the
// hub's inside, so that what it sees is what a user sees.
package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Process is a child that serves on a port of its own choice.
type Process struct {
	// URL is where it listens.
	URL string

	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}
	err   error

	mu   sync.Mutex
	tail []string
}

// readyTimeout bounds how long a child may take to say where it listens.
const readyTimeout = 45 * time.Second

// Command says what to start.
type Command struct {
	// Name is for messages.
	Name string
	Exe  string
	Args []string
	// Env is added to this process's environment.
	Env []string
	Dir string
	// Log gets standard error, if set.
	Log io.Writer
}

// StartProcess starts a child and waits for its line `… listening on URL`. The child
// ends when this process does, since its standard input closes.
func StartProcess(ctx context.Context, c Command) (*Process, error) {
	cmd := exec.Command(c.Exe, c.Args...) //nolint:noctx // its end is Stop or Kill, which also wait
	cmd.Env = append(environment(), c.Env...)
	cmd.Dir = c.Dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, cmd: cmd, stdin: stdin, done: make(chan struct{})}
	ready := make(chan string, 1)
	var pipes sync.WaitGroup
	pipes.Add(2)
	go func() {
		defer pipes.Done()
		p.scan(stdout, c.Log, func(line string) {
			if _, url, ok := strings.Cut(line, " listening on "); ok {
				select {
				case ready <- strings.TrimSpace(url):
				default:
				}
			}
		})
	}()
	go func() {
		defer pipes.Done()
		p.scan(stderr, c.Log, nil)
	}()
	go func() {
		pipes.Wait()
		p.err = cmd.Wait()
		close(p.done)
	}()
	timer := time.NewTimer(readyTimeout)
	defer timer.Stop()
	select {
	case p.URL = <-ready:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended before it was ready: %w\n%s", c.Name, errOr(p.err, "exit status 0"), p.Tail())
	case <-timer.C:
		p.Kill()
		return nil, fmt.Errorf("%s did not say where it listens within %s\n%s", c.Name, readyTimeout, p.Tail())
	case <-ctx.Done():
		p.Kill()
		return nil, ctx.Err()
	}
}

// environment is this process's without what configures a hub: a scenario brings its
// own configuration, whatever the user's shell or .env has set.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "HOST", "PORT", "MONGO_URL", "DB_NAME", "ADMIN_NUMBER", "AUTO_CONNECT_ON_START", "LOG_LEVEL", "FFMPEG_PATH", "WILDCAT_ADMIN_KEY", "WILDCAT_API_KEY":
		default:
			env = append(env, kv)
		}
	}
	return env
}

func errOr(err error, text string) error {
	if err != nil {
		return err
	}
	return errors.New(text)
}

// tailLines is how much of a child's output is kept for error messages.
const tailLines = 30

func (p *Process) scan(r io.Reader, log io.Writer, each func(string)) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		if log != nil {
			_, _ = fmt.Fprintln(log, line)
		}
		p.mu.Lock()
		p.tail = append(p.tail, line)
		if len(p.tail) > tailLines {
			p.tail = p.tail[1:]
		}
		p.mu.Unlock()
		if each != nil {
			each(line)
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long must not block the child
}

// Tail returns the last lines that the child printed.
func (p *Process) Tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

// PID is the child's own process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Resident is the memory in KiB that the child holds; 0 where that cannot be read.
func (p *Process) Resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kib
		}
	}
	return 0
}

// Done closes when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill sends SIGKILL to the child itself and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.stdin.Close()
}

// Stop asks the child to end by closing its standard input, and waits.
func (p *Process) Stop(timeout time.Duration) error {
	_ = p.stdin.Close()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %s and was killed", p.name, timeout)
	}
}
