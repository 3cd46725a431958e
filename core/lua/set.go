package lua

import (
	"sync/atomic"

	"github.com/wildcathub/wildcat/core/pipeline"
)

// Set is rules that were loaded together. It holds no goroutine.
type Set struct {
	rules   []*rule
	inForce pipeline.InForce
	metrics *metrics

	// users counts the events that are on the set, and one more while it is in force.
	users  atomic.Int64
	closed atomic.Bool
}

// Rules are the rules in order; not to be changed.
func (s *Set) Rules() []pipeline.Rule { return s.inForce.Rules }

// Version is that of the bundle.
func (s *Set) Version() string { return s.inForce.Version }

// Status says what each rule is doing, in their order.
func (s *Set) Status() []RuleStatus {
	out := make([]RuleStatus, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.health.status(r.script.name, r.script.src.file)
	}
	return out
}

// Closed says that the set was replaced, and no event is on it any more.
func (s *Set) Closed() bool { return s.closed.Load() }

// takeOver makes this set the successor of another, nil for none. A rule that is the
// same in both keeps its counts and its last failure, and has another chance if it was
// disabled; every other one begins anew.
func (s *Set) takeOver(last *Set) {
	before := map[string]*rule{}
	if last != nil {
		for _, r := range last.rules {
			before[r.Name()] = r
		}
	}
	for _, r := range s.rules {
		r.metric = s.metrics.rule(r.Name())
		if old := before[r.Name()]; old != nil && old.content == r.content {
			r.health = old.health
			r.health.again()
		} else if old != nil {
			old.health.retire()
		}
		r.health.show(r.metric.disabled)
		delete(before, r.Name())
	}
	for name, gone := range before {
		gone.health.retire()
		s.metrics.disabled.DeleteLabelValues(name)
	}
}

// release ends one use; the last one closes the machines.
func (s *Set) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	for _, r := range s.rules {
		for i := range r.slots {
			r.slots[i].close()
		}
	}
	s.closed.Store(true)
}

func (sl *slot) close() {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.st != nil {
		sl.st.l.Close()
		sl.st = nil
	}
}
