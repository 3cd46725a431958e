package lua

import (
	"sync"

	"github.com/wildcathub/wildcat/core/pipeline"
)

// Live is the rules in force of one hub: a Set that can be replaced at any moment.
type Live struct {
	mu  sync.Mutex
	set *Set
}

var _ pipeline.RuleSet = (*Live)(nil)

// NewLive puts a first set into force.
func NewLive(first *Set) *Live {
	l := &Live{}
	l.Swap(first)
	return l
}

// Acquire implements pipeline.RuleSet.
func (l *Live) Acquire() pipeline.InForce {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set.users.Add(1)
	return l.set.inForce
}

// Set is what is in force, to be looked at.
func (l *Live) Set() *Set {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set
}

// Swap puts a set into force that never was. Events that are on the one before end on
// it; the last of them closes it.
func (l *Live) Swap(next *Set) {
	next.users.Add(1)
	l.mu.Lock()
	last := l.set
	next.takeOver(last)
	l.set = next
	l.mu.Unlock()
	if last != nil {
		last.release()
	}
}
