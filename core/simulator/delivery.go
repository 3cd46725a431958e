package simulator

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// readBy is the place of the time of reading among a message's confirmations.
const readBy = "read"

// noteReceipt notes which messages a device confirmed, or that they were read: durably, since
// the receipt is acknowledged next and does not come again. The first time counts. mu is held.
func (p *Phone) noteReceipt(from *Device, node *waBinary.Node) error {
	var marks []string
	switch text(node, "type") {
	case "", "inactive":
		marks = []string{from.JID().String()}
	case "read":
		marks = []string{readBy}
		if _, many := node.Attrs["participant"]; many {
			marks = append(marks, readByPrefix+from.acct.number)
		}
	default:
		return nil
	}
	now := p.acct.s.opts.Clock()
	b := p.acct.s.begin()
	var news []func()
	for _, id := range receiptIDs(node) {
		m := p.sent[id]
		for _, who := range marks {
			if m == nil || m.confirmed(who) {
				continue
			}
			b.put(p.deliveryKey(id, who), binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano())))
			news = append(news, func() { m.confirm(who, now) })
		}
	}
	if err := p.acct.s.journal.commit(b); err != nil {
		return fmt.Errorf("note receipt: %w", err)
	}
	for _, note := range news {
		note()
	}
	if news != nil {
		p.notify()
	}
	return nil
}

// receiptIDs are the messages that a receipt is for.
func receiptIDs(node *waBinary.Node) []string {
	ids := []string{text(node, "id")}
	if list, ok := node.GetOptionalChildByTag("list"); ok {
		for _, item := range list.GetChildren() {
			ids = append(ids, text(&item, "id"))
		}
	}
	return ids
}

// readByPrefix comes before the number of one of many readers.
const readByPrefix = "read:"

func (m *sentMessage) confirmed(who string) bool {
	if number, ok := strings.CutPrefix(who, readByPrefix); ok {
		return m.readers[number]
	}
	if who == readBy {
		return !m.read.IsZero()
	}
	return !m.delivered[who].IsZero()
}

func (m *sentMessage) confirm(who string, at time.Time) {
	if number, ok := strings.CutPrefix(who, readByPrefix); ok {
		m.readBy(number)
		return
	}
	if who == readBy {
		m.read = at
		return
	}
	if m.delivered == nil {
		m.delivered = map[string]time.Time{}
	}
	m.delivered[who] = at
}

func (p *Phone) deliveryKey(id, who string) string {
	return "v/" + p.acct.number + "/" + id + "/" + who
}

// forgetDelivery drops what is known of a sent message that is forgotten; mu is held.
func (p *Phone) forgetDelivery(b *batch, id string) {
	m := p.sent[id]
	for who := range m.delivered {
		b.del(p.deliveryKey(id, who))
	}
	for number := range m.readers {
		b.del(p.deliveryKey(id, readByPrefix+number))
	}
	if !m.read.IsZero() {
		b.del(p.deliveryKey(id, readBy))
	}
}

func (p *Phone) loadDelivery(id, who string, value []byte) error {
	if len(value) != 8 {
		return fmt.Errorf("time of %d bytes", len(value))
	}
	if m := p.sent[id]; m != nil {
		m.confirm(who, time.Unix(0, int64(binary.BigEndian.Uint64(value))))
	}
	return nil
}
