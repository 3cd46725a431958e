package lua

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// failingChats are the chats that must fail in a row to disable a rule; so does a share
	// of a minute's runs.
	failingChats = 5
	failureShare = 5 // one in five
	minRuns      = 20
)

// The states of a rule.
const (
	StateActive   = "active"
	StateDisabled = "disabled"
)

// health decides whether a rule goes on. A rule that keeps failing costs every
// event its time and fills the log, so it is disabled until the next load. Strangers write
// the texts that a rule runs over: what fails in a few chats only may be their doing, and
// disables it for nobody.
type health struct {
	disabled atomic.Bool

	mu             sync.Mutex
	replaced       bool // another rule has this one's name, and its metrics, now
	reason         string
	runs, failures uint64
	last           *Failure
	lastAt         time.Time
	row            int // failures in a row
	rowFailing     failing
	minute         time.Time
	minuteRuns     int // without those of chats that failed before in this minute
	minuteFailures int // chats
	minuteFailing  failing
}

// record notes a run; it returns the reason when this run disabled the rule.
func (h *health) record(now time.Time, f *Failure, by origin, strict bool) (disabled string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.minute) >= time.Minute || now.Before(h.minute) {
		h.minute, h.minuteRuns, h.minuteFailures, h.minuteFailing = now, 0, 0, nil
	}
	h.runs++
	if f == nil {
		h.minuteRuns++
		h.row, h.rowFailing = 0, nil
		return ""
	}
	if f.Killed == killCanceled { // the program is stopping; no fault of the rule
		return ""
	}
	h.failures++
	h.last, h.lastAt = f, now
	if h.disabled.Load() {
		return ""
	}
	h.row++
	h.rowFailing.add(by)
	if h.minuteFailing.add(by) {
		h.minuteRuns++
		h.minuteFailures++
	}
	switch {
	case strict:
		h.reason = "it failed, and on_error is disable"
	case h.rowFailing.chats() >= failingChats:
		h.reason = fmt.Sprintf("%d failures in a row, in %d chats", h.row, h.rowFailing.chats())
	case h.minuteRuns >= minRuns && h.minuteFailures >= failingChats && h.minuteFailures*failureShare >= h.minuteRuns:
		h.reason = fmt.Sprintf("%d of %d runs within a minute failed, each in another chat", h.minuteFailures, h.minuteRuns)
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
	h.row, h.rowFailing, h.minute = 0, nil, time.Time{} // so that a new minute begins
}

// why is the reason of a rule that is disabled.
func (h *health) why() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason
}

// RuleStatus is what one rule is doing.
type RuleStatus struct {
	Name string
	// File as it was configured.
	File string
	// State is StateActive or StateDisabled; a disabled rule runs over no event until
	// the rules are loaded again.
	State string
	// Reason says why it is disabled.
	Reason string
	// Runs and Failures count since the rule was loaded in this form: a reload that
	// does not change it leaves them as they are.
	Runs, Failures uint64
	// FailuresInARow are those since the last success, and FailingChats how many chats, of
	// different people, they come from.
	FailuresInARow, FailingChats int
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
		Runs: h.runs, Failures: h.failures, FailuresInARow: h.row, FailingChats: h.rowFailing.chats(), LastFailure: h.last, LastErrorAt: h.lastAt,
	}
	if h.disabled.Load() {
		s.State = StateDisabled
	}
	if h.last != nil {
		s.LastError = h.last.Error()
	}
	return s
}
