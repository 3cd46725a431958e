package simulator

import (
	"fmt"
	"maps"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ackKey is what an acknowledgement names: it echoes the stanza's own attributes.
type ackKey struct {
	class, id, typ    string
	from, participant types.JID
}

// entry is a stanza that waits for a device.
type entry struct {
	seq      uint64
	node     waBinary.Node
	key      ackKey
	conn     uint64 // the connection that it last went out on
	released bool
}

type offlineState struct {
	open  bool // the closing <ib><offline/></ib> is still due
	end   int  // index in the queue of the first entry that is not part of it
	sent  int
	count int
}

func newEntry(seq uint64, node waBinary.Node) *entry {
	k := ackKey{class: node.Tag}
	k.id, _ = node.Attrs["id"].(string)
	k.from, _ = node.Attrs["from"].(types.JID)
	k.participant, _ = node.Attrs["participant"].(types.JID)
	if node.Tag != "message" { // the acknowledgement of a message does not repeat its type
		k.typ, _ = node.Attrs["type"].(string)
	}
	return &entry{seq: seq, node: node, key: k}
}

func (d *Device) entryKey(seq uint64) string {
	return fmt.Sprintf("q/%s/%d/%016x", d.acct.number, d.id, seq)
}

// insert puts an entry at the end of the queue, without sending it.
func (d *Device) insert(e *entry) {
	d.queue = append(d.queue, e)
	d.byKey[e.key] = append(d.byKey[e.key], e)
	d.waiting++
}

// enqueue takes an entry that is durable and sends it when its turn has come; false if the
// device was removed.
func (d *Device) enqueue(e *entry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed {
		return false
	}
	d.insert(e)
	d.notify()
	d.pump()
	return true
}

// pump sends what may go out; mu is held.
func (d *Device) pump() {
	for d.active && d.conn != nil && d.next < len(d.queue) && d.inflight < d.s.opts.Window {
		if d.offline.open && d.next >= d.offline.end {
			d.endOffline()
		}
		e := d.queue[d.next]
		d.next++
		if e.released {
			continue
		}
		node := e.node
		if d.offline.open {
			node.Attrs = maps.Clone(node.Attrs)
			node.Attrs["offline"] = strconv.Itoa(d.offline.sent)
			d.offline.sent++
		}
		e.conn = d.conn.id
		d.inflight++
		d.s.stats.sent.Add(1)
		d.conn.push(node)
	}
	if d.active && d.offline.open && d.next >= d.offline.end {
		d.endOffline()
	}
}

func (d *Device) endOffline() {
	d.offline.open = false
	d.conn.push(infoBroadcast("offline", waBinary.Attrs{"count": strconv.Itoa(d.offline.count)}))
}

// activate begins to send: first what waited, marked as such, then what comes.
func (d *Device) activate(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != c || d.active {
		return
	}
	d.active = true
	count := map[string]int{}
	for _, e := range d.queue[d.next:] {
		if !e.released {
			count[e.key.class]++
			d.offline.count++
		}
	}
	d.offline.open, d.offline.end = true, len(d.queue)
	c.push(infoBroadcast("offline_preview", waBinary.Attrs{
		"count":   strconv.Itoa(d.offline.count),
		"message": strconv.Itoa(count["message"]), "receipt": strconv.Itoa(count["receipt"]),
		"notification": strconv.Itoa(count["notification"]), "appdata": "0",
	}))
	d.pump()
}

// passivate stops sending; what is out stays out.
func (d *Device) passivate(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == c {
		d.active = false
	}
}

// acknowledge releases the oldest entry that key names. It is durable when it returns.
// An acknowledgement that names none is counted: correct clients answer
// undecryptable and peer messages twice.
func (d *Device) acknowledge(key ackKey) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.byKey[key]
	if len(list) == 0 {
		d.s.stats.lateAcks.Add(1)
		return nil
	}
	b := d.s.begin()
	if !b.off() {
		b.del(d.entryKey(list[0].seq))
	}
	if err := d.s.journal.commit(b); err != nil {
		return err
	}
	d.release(list[0])
	d.pump()
	return nil
}

// release takes e out of the queue; mu is held.
func (d *Device) release(e *entry) {
	if e.released {
		d.s.violate("queue entry released twice", "%s: %s %s", d.JID(), e.key.class, e.key.id)
		return
	}
	e.released = true
	list := d.byKey[e.key]
	for i := range list {
		if list[i] == e {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(d.byKey, e.key)
	} else {
		d.byKey[e.key] = list
	}
	d.waiting--
	if d.conn != nil && e.conn == d.conn.id {
		d.inflight--
	}
	e.node = waBinary.Node{}
	for len(d.queue) > 0 && d.queue[0].released {
		d.queue[0] = nil
		d.queue = d.queue[1:]
		d.next = max(d.next-1, 0)
		d.offline.end = max(d.offline.end-1, 0)
	}
	d.acked++
	d.lastAck = d.s.opts.Clock()
	d.s.stats.released(d.lastAck)
	if d.changed != nil {
		d.notify()
	}
}

func infoBroadcast(tag string, attrs waBinary.Attrs) waBinary.Node {
	return waBinary.Node{Tag: "ib", Attrs: waBinary.Attrs{"from": types.ServerJID}, Content: []waBinary.Node{{Tag: tag, Attrs: attrs}}}
}
