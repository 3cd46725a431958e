package simulator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// Device is one device of an account: the phone is 0, companions are 1 to 255. Its
// queue holds what it has to acknowledge.
type Device struct {
	s       *Server
	acct    *account
	id      uint16
	rec     deviceRecord // of a companion
	prekeys preKeys      // of a companion
	welcome atomic.Bool  // of a companion: the phone has sent it what a new one needs

	lastSeq atomic.Uint64 // of queue entries, on disk

	mu       sync.Mutex
	queue    []*entry
	byKey    map[ackKey][]*entry
	waiting  int // entries that are not released
	conn     *conn
	active   bool // it asked for its queue
	next     int  // index in queue of what goes out next
	inflight int  // out on this connection, not released
	offline  offlineState
	removed  bool
	draining bool // a phone's queue is being emptied
	acked    uint64
	lastAck  time.Time
	logins   uint64
	lastIn   time.Time
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

func newDevice(a *account, id uint16) *Device {
	return &Device{s: a.s, acct: a, id: id, byKey: map[ackKey][]*entry{}}
}

func newCompanion(a *account, rec deviceRecord) *Device {
	d := newDevice(a, rec.ID)
	d.rec = rec
	d.prekeys.byID = map[uint32]*oneTimeKey{}
	return d
}

// JID names the device by phone number.
func (d *Device) JID() types.JID { return d.as(false) }

// LID names the device by its hidden identifier.
func (d *Device) LID() types.JID { return d.as(true) }

func (d *Device) as(hidden bool) types.JID {
	jid := d.acct.as(hidden)
	jid.Device = d.id
	return jid
}

func (d *Device) key(kind string) string {
	return fmt.Sprintf("%s/%s/%d", kind, d.acct.number, d.id)
}

// Online says whether the device is logged in. A phone always is.
func (d *Device) Online() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id == 0 || d.conn != nil
}

// Pending is the number of stanzas that wait for the device's acknowledgement.
func (d *Device) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting
}

// Acked is how many stanzas the device has acknowledged since the server started, and
// when the newest of them was.
func (d *Device) Acked() (n uint64, last time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acked, d.lastAck
}

// Logins is how often the device has logged in since the server started.
func (d *Device) Logins() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logins
}

// LastLogin is when the device last logged in, zero for not since the server started.
func (d *Device) LastLogin() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastIn
}

// Removed says whether the device was unlinked or has logged out.
func (d *Device) Removed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removed
}

// PreKeys is the number of one-time prekeys that the server holds for the device.
func (d *Device) PreKeys() int { return d.prekeys.count() }

// Cut closes the device's connection as a lost network would.
func (d *Device) Cut() {
	if c := d.connection(); c != nil {
		c.cut()
	}
}

// StreamError sends a stream error and ends the connection: 401 carries
// device_removed, 409 carries replaced, 503 and 515 and others come bare. It changes
// nothing else: a device that got 401 may log in again, if it still can.
func (d *Device) StreamError(code int) {
	if c := d.connection(); c != nil {
		c.end(false, streamError(code))
	}
}

func streamError(code int) waBinary.Node {
	n := waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": fmt.Sprint(code)}}
	conflict := map[int]string{401: "device_removed", 409: "replaced"}[code]
	if conflict != "" {
		n.Content = []waBinary.Node{{Tag: "conflict", Attrs: waBinary.Attrs{"type": conflict}}}
	}
	return n
}

func (d *Device) connection() *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn
}

// WaitOnline waits until the device is logged in.
func (d *Device) WaitOnline(ctx context.Context) error {
	return d.wait(ctx, "login", func() bool { return d.id == 0 || d.conn != nil })
}

// WaitOffline waits until the device has no connection.
func (d *Device) WaitOffline(ctx context.Context) error {
	return d.wait(ctx, "disconnect", func() bool { return d.conn == nil })
}

// WaitDrained waits until the device has acknowledged everything that was queued for it.
func (d *Device) WaitDrained(ctx context.Context) error {
	return d.wait(ctx, "empty queue", func() bool { return d.waiting == 0 })
}

// WaitPending waits until at least n stanzas are queued for the device.
func (d *Device) WaitPending(ctx context.Context, n int) error {
	return d.wait(ctx, "queue", func() bool { return d.waiting >= n })
}

// WaitRemoved waits until the device was unlinked or has logged out.
func (d *Device) WaitRemoved(ctx context.Context) error {
	return d.wait(ctx, "removal", func() bool { return d.removed })
}

func (d *Device) wait(ctx context.Context, what string, done func() bool) error {
	for {
		d.mu.Lock()
		if done() {
			d.mu.Unlock()
			return nil
		}
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return contextOrClosed(ctx, what)
		}
	}
}

// notify wakes waiters; mu is held.
func (d *Device) notify() {
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// attach makes c the device's connection and replaces the one it had.
func (d *Device) attach(c *conn) bool {
	d.mu.Lock()
	if d.removed {
		d.mu.Unlock()
		return false
	}
	old := d.conn
	d.conn, d.active, d.next, d.inflight, d.offline = c, false, 0, 0, offlineState{}
	d.logins++
	d.lastIn = d.s.opts.Clock()
	d.notify()
	d.mu.Unlock()
	if old != nil {
		d.s.stats.replaced.Add(1)
		old.end(true, streamError(409))
	}
	return true
}

func (d *Device) detach(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == c {
		d.conn, d.active, d.inflight = nil, false, 0
		d.notify()
	}
}

// Unlink removes the device from its account, as its owner does on the phone: an
// online client gets 401 device_removed, an offline one is refused at its next login.
func (d *Device) Unlink() error { return d.remove(func(c *conn) { c.end(true, streamError(401)) }) }

// remove takes the device off its account and tells who has to know; last says goodbye.
func (d *Device) remove(last func(*conn)) error {
	if d.id == 0 {
		return fmt.Errorf("%s is a phone", d.JID())
	}
	d.mu.Lock()
	if d.removed {
		d.mu.Unlock()
		return nil
	}
	d.removed = true
	c := d.conn
	b := d.s.begin()
	for _, e := range d.queue {
		if !e.released {
			b.del(d.entryKey(e.seq))
		}
	}
	d.queue, d.byKey, d.waiting, d.next = nil, map[ackKey][]*entry{}, 0, 0
	d.notify()
	d.mu.Unlock()
	b.del(d.key("d"))
	b.del(d.key("w"))
	d.prekeys.drop(d, b)
	d.acct.mu.Lock()
	delete(d.acct.devices, d.id)
	d.acct.mu.Unlock()
	o := d.s.outgoing(b)
	o.devicesChanged(d.acct, "remove", d)
	err := o.commit()
	if c != nil {
		last(c)
	}
	return err
}
