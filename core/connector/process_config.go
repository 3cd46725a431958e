package connector

import (
	"cmp"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ProcessConfig names a program that is a connector.
type ProcessConfig struct {
	// Name is the entry's name under connectors:.
	Name string
	// Path is the program; a relative one is relative to the hub's working directory.
	Path string
	Args []string
	// SHA256, if set, is the program's digest in hex; any other program is refused. On
	// Linux the very file that was hashed is executed.
	SHA256 string
	// Dir is the program's working directory; "" is the hub's.
	Dir string
	// Env holds KEY=VALUE pairs that the program gets beside the few that it inherits.
	Env []string
	// RunDir is the hub's own folder, in which the private folders for the sockets are made,
	// or, where its path is too long for sockets, in the system's temporary folder under a name that
	// tells whose they are. RemoveStale removes what a hub that was killed has left. "" is the
	// system's temporary folder, and nobody's.
	RunDir string
	// Timing replaces the defaults; leave it zero.
	Timing Timing
}

// Timing is how patient the supervisor is; what is zero has its default.
type Timing struct {
	Start         time.Duration // the handshake, and again all calls until it is ready: 10 s
	Health        time.Duration // between two questions for health: 10 s
	HealthTimeout time.Duration // for its answer; three misses in a row are a hang: 2 s
	Stall         time.Duration // owing results and giving none for so long is a hang: 90 s
	Answer        time.Duration // to one delivery: 30 s
	Ready         time.Duration // a delivery waits for a program that is just starting: 2 s
	Drain         time.Duration // to finish when stopped: 5 s
	Kill          time.Duration // to exit when told so: 2 s
	Backoff       time.Duration // before the second restart, doubling: 1 s
	MaxBackoff    time.Duration // 60 s
	Healthy       time.Duration // after so long the failures before are forgotten: 5 min
	HalfOpen      time.Duration // between two trials of a program that has FAILED: 15 min
}

func (t Timing) withDefaults() Timing {
	return Timing{
		Start:         cmp.Or(t.Start, 10*time.Second),
		Health:        cmp.Or(t.Health, 10*time.Second),
		HealthTimeout: cmp.Or(t.HealthTimeout, 2*time.Second),
		Stall:         cmp.Or(t.Stall, 90*time.Second),
		Answer:        cmp.Or(t.Answer, 30*time.Second),
		Ready:         cmp.Or(t.Ready, 2*time.Second),
		Drain:         cmp.Or(t.Drain, 5*time.Second),
		Kill:          cmp.Or(t.Kill, 2*time.Second),
		Backoff:       cmp.Or(t.Backoff, time.Second),
		MaxBackoff:    cmp.Or(t.MaxBackoff, time.Minute),
		Healthy:       cmp.Or(t.Healthy, 5*time.Minute),
		HalfOpen:      cmp.Or(t.HalfOpen, 15*time.Minute),
	}
}

// Deps is what the program passes to a Process; what is nil has a default.
type Deps struct {
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time
	Random     func() float64 // [0,1)
}

func (d Deps) withDefaults() Deps {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Random == nil {
		d.Random = rand.Float64
	}
	return d
}

// State is where a connector's program stands.
type State string

// The states.
const (
	StateNew      State = "new"      // not started
	StateStarting State = "starting" // being started
	StateReady    State = "ready"    // taking deliveries
	StateWaiting  State = "waiting"  // ended, and about to be started again
	StateFailed   State = "failed"   // given up but for a trial every quarter of an hour
	StateStopped  State = "stopped"  // stopped by the hub
)

// The reasons of a state, and of an uncounted retry.
const (
	reasonStart     = "start"         // it ended or failed while starting
	reasonHandshake = "handshake"     // it printed something else than the handshake
	reasonVersion   = "version"       // it speaks another version of the contract
	reasonChecksum  = "checksum"      // it is not the pinned program
	reasonConfig    = "configuration" // it refused its configuration
	reasonExit      = "exited"
	reasonHung      = "hung"
	reasonStream    = "stream" // it ended the stream and not itself
	reasonLoop      = "crash_loop"
)

// Status is what an operator sees of a connector's program.
type Status struct {
	State State `json:"state"`
	// Reason is a stable word, "" while all is well.
	Reason string `json:"reason,omitempty"`
	// PID is 0 while no program runs.
	PID int `json:"pid,omitempty"`
	// Restarts counts starts after the first.
	Restarts int `json:"restarts"`
	// LastError says in words what went wrong last.
	LastError string `json:"last_error,omitempty"`
	// Since is when the state began, NextStart when a program that waits is started again.
	Since     time.Time  `json:"since"`
	NextStart *time.Time `json:"next_start,omitempty"`
}

// metrics are shared by all connectors of a registry.
type metrics struct {
	restarts *prometheus.CounterVec
	up       *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_connector_restarts_total", Help: "Starts of a connector's program after the first.",
		}, []string{"connector"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wildcat_connector_up", Help: "1 while a connector's program takes deliveries.",
		}, []string{"connector"}),
	}
	if r != nil {
		m.restarts, m.up = shared(r, m.restarts), shared(r, m.up)
	}
	return m
}
