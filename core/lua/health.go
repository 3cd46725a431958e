package lua

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// failuresInARow disable a rule, and so does a share of a minute's runs.
	failuresInARow = 5
	failureShare   = 5 // one in five
	minRuns        = 20
)

// The states of a rule.
const (
	StateActive   = "active"
	StateDisabled = "disabled"
)

// health decides whether a rule goes on. A rule that keeps failing costs every
// event its time and fills the log, so it is disabled until the next load.
type health struct {
	disabled atomic.Bool

	mu             sync.Mutex
	replaced       bool // another rule has this one's name, and its metrics, now
	reason         string
	runs, failures uint64
	last           *Failure
	lastAt         time.Time
	row            int // failures in a row
	minute         time.Time
	minuteRuns     int
	minuteFailures int
}

// record notes a run; it returns the reason when this run disabled the rule.
func (h *health) record(now time.Time, f *Failure, strict bool) (disabled string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.minute) >= time.Minute || now.Before(h.minute) {
		h.minute, h.minuteRuns, h.minuteFailures = now, 0, 0
	}
	h.runs++
	h.minuteRuns++
	if f == nil {
		h.row = 0
		return ""
	}
	if f.Killed == killCanceled { // the program is stopping; no fault of the rule
		return ""
	}
	h.failures++
	h.row++
	h.minuteFailures++
	h.last, h.lastAt = f, now
	switch {
	case h.disabled.Load():
		return ""
	case strict:
		h.reason = "it failed, and on_error is disable"
	case h.row >= failuresInARow:
		h.reason = fmt.Sprintf("%d failures in a row", h.row)
	case h.minuteRuns >= minRuns && h.minuteFailures*failureShare >= h.minuteRuns:
		h.reason = fmt.Sprintf("%d of %d runs within a minute failed", h.minuteFailures, h.minuteRuns)
	default:
		return ""
	}
	h.disabled.Store(true)
	return h.reason
}

// show keeps the gauge at 1 while the rule is disabled.
func (h *health) show(gauge prometheus.Gauge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.replaced:
	case h.disabled.Load():
		gauge.Set(1)
	default:
		gauge.Set(0)
	}
}

// retire leaves the gauge to a successor.
func (h *health) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replaced = true
}

// again gives a disabled rule another chance. What it has counted stays.
func (h *health) again() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disabled.Store(false)
	h.reason = ""
	h.row, h.minute, h.minuteRuns, h.minuteFailures = 0, time.Time{}, 0, 0
}

// RuleStatus is what one rule is doing.
type RuleStatus struct {
	Name string
	// File as it was configured.
	File string
	// State is StateActive or StateDisabled; a disabled rule matches no event until
	// the rules are loaded again.
	State string
	// Reason says why it is disabled.
	Reason string
	// Runs and Failures count since the rule was loaded in this form: a reload that
	// does not change it leaves them as they are.
	Runs, Failures uint64
	// LastError is one line, "" for none; LastErrorAt is when.
	LastError   string
	LastErrorAt time.Time
	// LastFailure has the details; nil for none. Not to be changed.
	LastFailure *Failure
}

func (h *health) status(name, file string) RuleStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := RuleStatus{
		Name: name, File: file, State: StateActive, Reason: h.reason,
		Runs: h.runs, Failures: h.failures, LastFailure: h.last, LastErrorAt: h.lastAt,
	}
	if h.disabled.Load() {
		s.State = StateDisabled
	}
	if h.last != nil {
		s.LastError = h.last.Error()
	}
	return s
}
