package simulator

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// Stanza is one stanza as the trace keeps it.
type Stanza struct {
	// N numbers the stanzas of a server, from 1.
	N  uint64    `json:"n"`
	At time.Time `json:"at"`
	// Conn is the connection, Device the JID of who logged in on it, empty while a client pairs.
	Conn      uint64    `json:"conn"`
	Device    string    `json:"device"`
	Direction Direction `json:"direction"`
	Tag       string    `json:"tag"`
	ID        string    `json:"id"`
	// Fault says what a fault did to it: an action and the rule's id. What a fault touched on
	// its way out is shown when the fault decided, and again once it leaves, if it does.
	Fault string `json:"fault,omitempty"`
	// XML is the stanza for people. Long values are shortened, ciphertexts are lengths only.
	XML string `json:"xml"`

	// Node is a copy of the stanza. It must not be changed.
	Node *waBinary.Node `json:"-"`

	dev *Device
}

// Trace is the bounded memory of what went over the connections of a server. It is off
// until [Trace.Enable], unless Options say otherwise.
type Trace struct {
	s  *Server
	on atomic.Bool // something wants to know

	mu     sync.Mutex
	ring   []Stanza // oldest at next once it is full
	next   int
	size   int
	last   uint64
	waits  map[*traceWait]struct{}
	viewer map[*Subscription]struct{}
}

type traceWait struct {
	match func(Stanza) bool
	found chan Stanza // capacity 1
}

// TraceFilter chooses among stanzas; the zero value takes all.
type TraceFilter struct {
	// Device is a number, for all its companions, or one device's JID.
	Device string
	// Direction is of the stanzas, empty for both.
	Direction Direction
	// After takes those numbered above it.
	After uint64
}

// Trace is the server's memory of stanzas.
func (s *Server) Trace() *Trace { return &s.trace }

// Enable makes the trace keep the newest n stanzas; 0 turns it off and forgets all.
func (t *Trace) Enable(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.ordered()
	t.ring, t.next, t.size = kept[max(len(kept)-n, 0):], 0, max(n, 0)
	t.update()
}

// Enabled says how many stanzas are kept, 0 for none.
func (t *Trace) Enabled() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size
}

// Stanzas returns what is kept and chosen, oldest first. A device that is neither a number
// nor a JID is an error.
func (t *Trace) Stanzas(filter TraceFilter) ([]Stanza, error) {
	matches, err := filter.compile()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(t.ordered(), func(s Stanza) bool { return !matches(&s) }), nil
}

// Subscription is a live view of the trace.
type Subscription struct {
	// C has the stanzas. It is closed by Close.
	C <-chan Stanza

	t       *Trace
	c       chan Stanza
	matches func(*Stanza) bool
	dropped atomic.Uint64
}

// Subscribe returns a live view of what comes from now on, whether or not anything is
// kept. A view that is buffer stanzas behind loses what comes, and counts it. Close it.
func (t *Trace) Subscribe(filter TraceFilter, buffer int) (*Subscription, error) {
	matches, err := filter.compile()
	if err != nil {
		return nil, err
	}
	c := make(chan Stanza, max(buffer, 1))
	v := &Subscription{C: c, c: c, t: t, matches: matches}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.viewer == nil {
		t.viewer = map[*Subscription]struct{}{}
	}
	t.viewer[v] = struct{}{}
	t.update()
	return v, nil
}

// Dropped is how many stanzas the view has lost.
func (v *Subscription) Dropped() uint64 { return v.dropped.Load() }

// Close ends the view and closes its channel. It may be called twice.
func (v *Subscription) Close() {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if _, ok := v.t.viewer[v]; !ok {
		return
	}
	delete(v.t.viewer, v)
	v.t.update()
	close(v.c)
}

// WaitStanza waits for a stanza that match accepts, among those that the trace keeps too.
// match must not call the server.
func (s *Server) WaitStanza(ctx context.Context, match func(Stanza) bool) (Stanza, error) {
	t := &s.trace
	w := &traceWait{match, make(chan Stanza, 1)}
	t.mu.Lock()
	for _, old := range t.ordered() {
		if match(old) {
			t.mu.Unlock()
			return old, nil
		}
	}
	if t.waits == nil {
		t.waits = map[*traceWait]struct{}{}
	}
	t.waits[w] = struct{}{}
	t.update()
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.waits, w)
		t.update()
		t.mu.Unlock()
	}()
	select {
	case found := <-w.found:
		return found, nil
	case <-ctx.Done():
		return Stanza{}, contextOrClosed(ctx, "a stanza")
	}
}

// record takes a stanza that came or went. The node may be changed afterwards.
func (t *Trace) record(c *conn, dir Direction, node *waBinary.Node, fault string) {
	if !t.on.Load() {
		return
	}
	clone := cloneNode(node)
	entry := Stanza{
		At: t.s.opts.Clock(), Conn: c.id, Direction: dir, Tag: node.Tag, ID: text(node, "id"),
		Fault: fault, XML: renderNode(node), Node: &clone, dev: c.device.Load(),
	}
	if entry.dev != nil {
		entry.Device = entry.dev.JID().String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	entry.N = t.last
	if len(t.ring) < t.size {
		t.ring = append(t.ring, entry)
	} else if t.size > 0 {
		t.ring[t.next] = entry
		t.next = (t.next + 1) % t.size
	}
	for w := range t.waits {
		if w.match(entry) {
			w.found <- entry
			delete(t.waits, w)
		}
	}
	for v := range t.viewer {
		if !v.matches(&entry) {
			continue
		}
		select {
		case v.c <- entry:
		default:
			v.dropped.Add(1)
		}
	}
}

// ordered copies the ring, oldest first; mu is held.
func (t *Trace) ordered() []Stanza {
	return append(append(make([]Stanza, 0, len(t.ring)), t.ring[t.next:]...), t.ring[:t.next]...)
}

// update notes whether anyone wants stanzas; mu is held.
func (t *Trace) update() { t.on.Store(t.size > 0 || len(t.waits) > 0 || len(t.viewer) > 0) }

func (f TraceFilter) compile() (func(*Stanza) bool, error) {
	var device devicePattern
	if f.Device != "" {
		var err error
		if device, err = parseDevicePattern(f.Device); err != nil {
			return nil, err
		}
	}
	return func(s *Stanza) bool {
		return s.N > f.After && (f.Direction == "" || f.Direction == s.Direction) && device.matches(s.dev)
	}, nil
}
