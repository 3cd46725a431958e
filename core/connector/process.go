package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
)

// Process is a connector whose program runs as a process of its own. It starts the
// program, watches it, starts it again when it ends or hangs, and lets deliveries
// fail in the meantime in a way that loses none. A connector's program is trusted
// code: a process of its own protects the hub from its crashes, not from its intent.
type Process struct {
	cfg  ProcessConfig
	deps Deps
	log  *slog.Logger
	m    metrics

	mu       sync.Mutex
	with     json.RawMessage
	info     sdk.Info
	status   Status
	stream   *wire.Stream  // non-nil while ready
	changed  chan struct{} // closed when the status changes
	cancel   context.CancelFunc
	hurry    context.CancelFunc
	finished chan struct{} // closed when the supervisor has ended
	again    chan struct{} // has one place: start what waits to be started
}

var _ sdk.Connector = (*Process)(nil)

// NewProcess makes a Process; nothing runs before Start.
func NewProcess(cfg ProcessConfig, deps Deps) *Process {
	cfg.Timing = cfg.Timing.withDefaults()
	deps = deps.withDefaults()
	return &Process{
		cfg: cfg, deps: deps, m: newMetrics(deps.Registerer),
		log:     deps.Logger.With("component", "connector", "connector", cfg.Name),
		with:    json.RawMessage("{}"),
		info:    sdk.Info{Type: cfg.Name, InFlight: 16},
		status:  Status{State: StateNew, Since: deps.Now()},
		changed: make(chan struct{}), again: make(chan struct{}, 1),
	}
}

// Retry starts a program now that waits to be started again, or was given up, and returns when it
// is being started. One that runs is left alone.
func (p *Process) Retry(ctx context.Context) error {
	asked := false
	for {
		p.mu.Lock()
		state, changed := p.status.State, p.changed
		p.mu.Unlock()
		if state != StateWaiting && state != StateFailed {
			return nil
		}
		if !asked {
			asked = true
			select {
			case p.again <- struct{}{}:
			default:
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("start connector %s: %w", p.cfg.Name, ctx.Err())
		}
	}
}

// Info is the program's own once it has run, which is so when Start has returned
// without trouble; until then it is a guess.
func (p *Process) Info() sdk.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// Configure keeps the configuration for the next start. Only the program can
// validate it, so mistakes are reported by Check and by Start.
func (p *Process) Configure(with json.RawMessage) error {
	if len(with) == 0 {
		with = json.RawMessage("{}")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(with, &object); err != nil {
		return &sdk.ConfigError{Message: "is not an object"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.with = with
	return nil
}

var errStartedTwice = errors.New("connector was started before")

// Start starts the program and its supervisor, and waits until the program is ready
// or has failed once, at most until ctx ends. It returns an error when the program
// can never work as it is: a wrong checksum, another version of the contract, a
// configuration that it refuses. The supervisor runs on even then, and tries again
// every quarter of an hour, until Stop. All other failures are the supervisor's, and
// no error: deliveries wait.
func (p *Process) Start(ctx context.Context, host sdk.Host) error {
	p.mu.Lock()
	if p.finished != nil || p.status.State == StateStopped {
		p.mu.Unlock()
		return errStartedTwice
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	rush, hurry := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel, p.hurry, p.finished = cancel, hurry, make(chan struct{})
	p.mu.Unlock()

	first := make(chan error, 1)
	go p.supervise(run, rush, host, first)
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Deliver hands the event to the program. While there is none it waits for a
// moment, and then asks for an uncounted retry at about the time of the next start.
func (p *Process) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	patience := time.NewTimer(p.cfg.Timing.Ready)
	defer patience.Stop()
	for {
		p.mu.Lock()
		stream, status, changed := p.stream, p.status, p.changed
		p.mu.Unlock()
		if stream != nil {
			r, taken := stream.Deliver(ctx, d)
			if taken {
				return r
			}
			status.State = StateStarting // it has just ended, and the supervisor is about to notice
		}
		down := sdk.Result{Uncounted: true, Reason: "connector_down", After: p.next(status)}
		soon := status.State == StateStarting || status.State == StateWaiting && down.After < p.cfg.Timing.Ready
		if !soon {
			return down
		}
		select {
		case <-changed:
		case <-patience.C:
			return down
		case <-ctx.Done():
			return down
		}
	}
}

// next says how long a delivery had better wait, given the status.
func (p *Process) next(s Status) time.Duration {
	if s.NextStart == nil {
		return time.Second
	}
	return max(100*time.Millisecond, s.NextStart.Sub(p.deps.Now()))
}

// Stop lets the program finish what it has (5 s), tells it to exit (2 s), and kills
// it. When ctx ends first, it is killed at once. Stop returns when it is gone.
func (p *Process) Stop(ctx context.Context) error {
	p.mu.Lock()
	finished, cancel, hurry := p.finished, p.cancel, p.hurry
	p.mu.Unlock()
	if finished == nil {
		p.set(Status{State: StateStopped})
		return nil
	}
	cancel()
	select {
	case <-finished:
	case <-ctx.Done():
		hurry()
		<-finished
	}
	hurry()
	return nil
}

// Status says how the program is.
func (p *Process) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Check starts the program, asks what it is and whether it accepts the
// configuration, and ends it. It changes nothing and works beside a running one.
// Mistakes in the configuration are *sdk.ConfigError, joined.
func (p *Process) Check(ctx context.Context) (sdk.Info, error) {
	s, fail := p.spawn(ctx)
	if fail != nil {
		return sdk.Info{}, fail
	}
	rush, hurry := context.WithCancel(context.WithoutCancel(ctx))
	defer hurry()
	defer context.AfterFunc(ctx, hurry)()
	defer s.end(rush)
	call, cancel := context.WithTimeout(ctx, p.cfg.Timing.Start)
	defer cancel()
	p.mu.Lock()
	with := p.with
	p.mu.Unlock()
	if err := s.peer.Validate(call, with); err != nil {
		return s.info, fmt.Errorf("connector %s: %w", p.cfg.Name, err)
	}
	return s.info, nil
}

// set changes the status; Restarts and LastError are kept unless given.
func (p *Process) set(s Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Since = p.deps.Now()
	s.Restarts = max(s.Restarts, p.status.Restarts)
	if s.LastError == "" {
		s.LastError = p.status.LastError
	}
	p.status = s
	if s.State != StateReady {
		p.stream = nil
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// shared registers c, or returns the one that another connector has registered.
func shared[C prometheus.Collector](r prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(r.Register(c), &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	return c
}
