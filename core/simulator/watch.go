package simulator

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Violation is a broken invariant.
type Violation struct {
	// Rule names it; the same words each time.
	Rule string
	// What says where it happened.
	What string
	At   time.Time
}

func (v Violation) String() string { return v.Rule + ": " + v.What }

// Verify fails a test for each invariant that was broken; t is a testing.TB. Register it
// with t.Cleanup.
func (s *Server) Verify(t interface {
	Helper()
	Errorf(format string, args ...any)
},
) {
	t.Helper()
	for _, v := range s.Violations() {
		t.Errorf("sandbox: %s", v)
	}
}

// violationsKept bounds the list; all are counted.
const violationsKept = 1000

type violations struct {
	mu    sync.Mutex
	kept  []Violation
	count int
}

func (v *violations) list() []Violation {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Violation(nil), v.kept...)
}

func (v *violations) total() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count
}

func (s *Server) violate(rule, format string, args ...any) {
	v := Violation{rule, fmt.Sprintf(format, args...), s.opts.Clock()}
	s.violations.mu.Lock()
	s.violations.count++
	if len(s.violations.kept) < violationsKept {
		s.violations.kept = append(s.violations.kept, v)
	}
	s.violations.mu.Unlock()
	s.log.Error("invariant broken", "rule", rule, "what", v.What)
}

// chainsKept and countersKept bound what is remembered of each pair of devices.
const (
	chainsKept   = 4
	countersKept = 8192
)

// cipherWatch remembers which ciphertext used which counter. A counter that comes
// back with other bytes, or under another id, means that a sender went back to an old session:
// recipients drop such a message silently.
type cipherWatch struct {
	mu    sync.Mutex
	pairs map[[2]*Device][]*chain

	senders map[senderKey]map[uint32][12]byte // by iteration
}

type chain struct {
	ratchet string
	seen    map[uint32][12]byte
}

// watchCipher checks one ciphertext of the one-to-one kind.
func (s *Server) watchCipher(from, to *Device, id string, ciphertext []byte) {
	ratchet, counter, ok := parseCipher(ciphertext)
	if !ok || s.faults.wasSpoiled(from, id) {
		return
	}
	sum := sha256.Sum256(append([]byte(id+"\x00"), ciphertext...))
	mark := [12]byte(sum[:12])
	w := &s.ciphers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pairs == nil {
		w.pairs = map[[2]*Device][]*chain{}
	}
	pair := [2]*Device{from, to}
	list := w.pairs[pair]
	var c *chain
	for _, known := range list {
		if known.ratchet == string(ratchet) {
			c = known
		}
	}
	if c == nil {
		c = &chain{ratchet: string(ratchet), seen: map[uint32][12]byte{}}
		if list = append(list, c); len(list) > chainsKept {
			list = list[1:]
		}
		w.pairs[pair] = list
	}
	if old, ok := c.seen[counter]; ok && old != mark {
		s.violate("ciphertext counter repeated", "%s to %s: counter %d, message %s", from.JID(), to.JID(), counter, id)
	}
	if c.seen[counter] = mark; len(c.seen) > countersKept {
		delete(c.seen, counter-countersKept)
	}
}

// parseCipher reads the ratchet key and the counter of a Signal message, or of the one
// inside a prekey message: a version byte and a protobuf, and behind a bare one a MAC of 8 bytes.
func parseCipher(raw []byte) (ratchet []byte, counter uint32, ok bool) {
	for range 2 {
		if len(raw) < 2 {
			return nil, 0, false
		}
		fields := raw[1:]
		var key, inner []byte
		counted := false
		for len(fields) > 0 && (inner == nil || !counted) { // the MAC is no field: stop before it
			number, kind, n := protowire.ConsumeTag(fields)
			if n < 0 {
				return nil, 0, false
			}
			var bytes []byte
			var value uint64
			size := -1
			if fields = fields[n:]; kind == protowire.BytesType {
				bytes, size = protowire.ConsumeBytes(fields)
			} else if kind == protowire.VarintType {
				value, size = protowire.ConsumeVarint(fields)
			}
			if size < 0 {
				return nil, 0, false
			}
			fields = fields[size:]
			switch {
			case number == 1 && bytes != nil:
				key = bytes
			case number == 2 && bytes == nil:
				counter, counted = uint32(value), true
			case number == 4:
				inner = bytes
			}
		}
		if counted {
			return key, counter, key != nil && inner != nil
		}
		raw = inner // of a prekey message, whose second field is a key
	}
	return nil, 0, false
}

// counters are what the server has done since New.
type counters struct {
	received, messages, receipts  atomic.Uint64 // stanzas from clients; messages and receipts among them
	queued, sent, acked, lateAcks atomic.Uint64 // queue entries; lateAcks named none
	ignored                       atomic.Uint64 // stanzas of connections that were already ended
	replaced                      atomic.Uint64 // connections that another one of the same device ended
	lastAck                       atomic.Int64  // Unix time in nanoseconds
}

func (c *counters) released(at time.Time) {
	c.acked.Add(1)
	c.lastAck.Store(at.UnixNano())
}

// Stats are counts since New.
type Stats struct {
	// Received are stanzas from clients, Messages and Receipts those among them.
	Received uint64 `json:"received"`
	Messages uint64 `json:"messages"`
	Receipts uint64 `json:"receipts"`
	// Queued are stanzas put into devices' queues, phones' included; Sent those written to
	// clients, again after each login; Acked those released; LateAcks acknowledgements that
	// named nothing that waited; Pending those that wait now.
	Queued   uint64 `json:"queued"`
	Sent     uint64 `json:"sent"`
	Acked    uint64 `json:"acked"`
	LateAcks uint64 `json:"late_acks"`
	Pending  int    `json:"pending"`
	// Ignored are stanzas that came on connections that were already ended.
	Ignored uint64 `json:"ignored"`
	// Replaced are connections that ended because the same device logged in once more: never
	// more than one client is to speak for a device.
	Replaced uint64 `json:"replaced"`
	// LastAck is when the newest entry was released, Unix time in nanoseconds; 0 for never.
	LastAck     int64 `json:"last_ack_ns"`
	Connections int   `json:"connections"`
	Violations  int   `json:"violations"`
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	c := &s.stats
	out := Stats{
		Received: c.received.Load(), Messages: c.messages.Load(), Receipts: c.receipts.Load(),
		Queued: c.queued.Load(), Sent: c.sent.Load(), Acked: c.acked.Load(), LateAcks: c.lateAcks.Load(),
		Ignored: c.ignored.Load(), Replaced: c.replaced.Load(), LastAck: c.lastAck.Load(), Violations: s.violations.total(),
	}
	s.mu.RLock()
	out.Connections = len(s.conns)
	s.mu.RUnlock()
	for _, d := range s.Devices() {
		out.Pending += d.Pending()
	}
	return out
}
