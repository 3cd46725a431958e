package simulator

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// faultBook holds the rules of a server.
type faultBook struct {
	rules atomic.Pointer[[]*FaultRule] // nil while there are none, so that asking costs one load

	spoils  atomic.Bool // spoiled has ever had an entry
	mu      sync.Mutex  // guards changes of rules, and what rules count and hold
	lastID  int
	spoiled map[spoiledKey]bool
}

// FaultRule is a [Fault] in force. Its methods may be called from anywhere.
type FaultRule struct {
	s      *Server
	id     int
	fault  Fault
	kind   faultKind
	device devicePattern

	// Guarded by the book's lock.
	random  *rand.Rand
	matched int
	hits    int
	held    []heldStanza
	seen    map[seenKey]bool // of deduplicate
	removed bool
}

// FaultInfo is a rule as lists show it.
type FaultInfo struct {
	ID    int   `json:"id"`
	Fault Fault `json:"fault"`
	// Hits is how often it happened, Held how many stanzas it holds.
	Hits int `json:"hits"`
	Held int `json:"held"`
}

type heldStanza struct {
	c   *conn
	dir Direction
	v   verdict
}

// seenKept bounds what a deduplicating rule remembers; beyond it, it begins anew.
const seenKept = 1 << 16

// AddFault puts a fault in force and returns the rule, which removes it. Rules are not
// kept over a restart.
func (s *Server) AddFault(f Fault) (*FaultRule, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	r := &FaultRule{s: s, fault: f, kind: faultKinds()[f.Action], random: rand.New(rand.NewPCG(f.Seed, 0))}
	if f.Device != "" {
		r.device, _ = parseDevicePattern(f.Device)
	}
	if r.fault.Direction == "" {
		r.fault.Direction = r.kind.only
	}
	if r.fault.Code == 0 {
		r.fault.Code = r.kind.standard
	}
	book := &s.faults
	book.mu.Lock()
	defer book.mu.Unlock()
	book.lastID++
	r.id = book.lastID
	book.set(append(book.list(), r))
	return r, nil
}

// Faults returns the rules in force, in the order in which they were added.
func (s *Server) Faults() []*FaultRule { return slices.Clone(s.faults.list()) }

// Fault returns the rule with an id, or nil.
func (s *Server) Fault(id int) *FaultRule {
	for _, r := range s.faults.list() {
		if r.id == id {
			return r
		}
	}
	return nil
}

// ClearFaults removes all rules.
func (s *Server) ClearFaults() {
	for _, r := range s.Faults() {
		r.Remove()
	}
}

func (b *faultBook) list() []*FaultRule {
	if rules := b.rules.Load(); rules != nil {
		return *rules
	}
	return nil
}

// set replaces the list, whose readers hold no lock; mu is held.
func (b *faultBook) set(rules []*FaultRule) {
	if len(rules) == 0 {
		b.rules.Store(nil)
		return
	}
	rules = slices.Clone(rules)
	b.rules.Store(&rules)
}

// ID names the rule on its server.
func (r *FaultRule) ID() int { return r.id }

// Fault is what the rule was made of, with defaults filled in.
func (r *FaultRule) Fault() Fault { return r.fault }

// Hits is how often the fault happened.
func (r *FaultRule) Hits() int { return r.Info().Hits }

// Held is how many stanzas the rule holds back.
func (r *FaultRule) Held() int { return r.Info().Held }

// Info is the rule as lists show it.
func (r *FaultRule) Info() FaultInfo {
	r.s.faults.mu.Lock()
	defer r.s.faults.mu.Unlock()
	return FaultInfo{ID: r.id, Fault: r.fault, Hits: r.hits, Held: len(r.held)}
}

// Remove ends the fault. What it holds is released, as held, and what it delayed comes at
// once. It may be called twice.
func (r *FaultRule) Remove() {
	book := &r.s.faults
	book.mu.Lock()
	if !r.removed {
		r.removed = true
		book.set(slices.DeleteFunc(slices.Clone(book.list()), func(other *FaultRule) bool { return other == r }))
	}
	book.mu.Unlock()
	r.Release(AsHeld)
	r.s.mu.Lock()
	conns := slices.Collect(maps.Keys(r.s.conns))
	r.s.mu.Unlock()
	for _, c := range conns {
		c.delayed.hurry(c, r)
	}
}

func (r *FaultRule) isRemoved() bool {
	r.s.faults.mu.Lock()
	defer r.s.faults.mu.Unlock()
	return r.removed
}

// Release hands on what the rule holds, in an order, empty for as held, and returns how
// many that were. Later rules do not see these stanzas.
func (r *FaultRule) Release(order Order) int {
	r.s.faults.mu.Lock()
	held := r.takeHeld(order)
	r.s.faults.mu.Unlock()
	deliver(held)
	return len(held)
}

// takeHeld empties the rule; the book's lock is held.
func (r *FaultRule) takeHeld(order Order) []heldStanza {
	held := r.held
	r.held = nil
	switch order {
	case Reversed:
		slices.Reverse(held)
	case Shuffled:
		r.random.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
	}
	return held
}

// hold keeps a stanza, or hands on all that are held if this one completes them. It is
// refused once the rule is removed.
func (r *FaultRule) hold(h heldStanza) bool {
	r.s.faults.mu.Lock()
	if r.removed {
		r.s.faults.mu.Unlock()
		return false
	}
	r.held = append(r.held, h)
	var full []heldStanza
	if r.fault.ReleaseAt > 0 && len(r.held) >= r.fault.ReleaseAt {
		full = r.takeHeld(r.fault.Order)
	}
	r.s.faults.mu.Unlock()
	deliver(full)
	return true
}

func deliver(held []heldStanza) {
	for _, h := range held {
		if h.dir == Out {
			h.c.pushNow(h.v.node)
		} else {
			h.c.handleLate(&h.v)
		}
	}
}

// fires counts a match and says whether the fault happens; the book's lock is held.
func (r *FaultRule) fires() bool {
	f := &r.fault
	if r.removed || f.Times > 0 && r.hits >= f.Times {
		return false
	}
	r.matched++
	if f.Nth > 0 && r.matched != f.Nth {
		return false
	}
	if f.Probability > 0 && r.random.Float64() >= f.Probability {
		return false
	}
	r.hits++
	return true
}

// delay is how long one stanza waits; the book's lock is held.
func (r *FaultRule) delay() time.Duration {
	d := time.Duration(r.fault.DelayMS) * time.Millisecond
	if r.fault.JitterMS > 0 {
		d += time.Duration(r.random.Int64N(int64(r.fault.JitterMS)*int64(time.Millisecond) + 1))
	}
	return d
}
