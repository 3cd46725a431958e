package simulator

import (
	"context"
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// Read tells the writers of a chat's messages that they were read, and the phone's own
// companions too.
func (p *Phone) Read(ctx context.Context, chat string, ids ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ref, err := p.acct.s.chat(chat)
	if err != nil {
		return err
	}
	p.mu.Lock()
	type told struct {
		d    *Device
		node waBinary.Node
	}
	var phones []told
	o := p.acct.s.outgoing(p.begin())
	for _, id := range ids {
		m := p.find(ref.name, id)
		if m == nil {
			p.mu.Unlock()
			return fmt.Errorf("read %s in %s: %w", id, ref.name, ErrUnknownMessage)
		}
		author := p.acct.s.findAccount(m.author)
		if author == nil || author == p.acct {
			continue
		}
		hidden := isHidden(m.author)
		attrs := waBinary.Attrs{
			"from": p.acct.as(hidden), "id": id, "type": "read", "t": strconv.FormatInt(p.acct.s.now(), 10),
		}
		if ref.peer == nil {
			attrs["from"], attrs["participant"] = ref.jid, p.acct.as(hidden)
		}
		node := waBinary.Node{Tag: "receipt", Attrs: attrs}
		for _, d := range author.all() {
			if d.id == 0 {
				phones = append(phones, told{d, node})
			} else {
				o.add(d, node)
			}
		}
		p.readByOneself(o, ref, m)
	}
	err = o.commit()
	p.mu.Unlock()
	// Only now: two phones that read each other's messages must not hold their locks meanwhile.
	for _, t := range phones {
		if err == nil {
			err = t.d.acct.phone.takeReceipt(p.dev, &t.node)
		}
	}
	return err
}

// readByOneself tells the companions that the phone has read a message.
func (p *Phone) readByOneself(o *outgoing, chat chatRef, m *Message) {
	for _, d := range p.acct.all()[1:] {
		hidden := isHidden(m.author)
		attrs := waBinary.Attrs{
			"from": p.acct.as(hidden), "id": m.ID, "type": "read-self",
			"recipient": chat.as(hidden), "t": strconv.FormatInt(p.acct.s.now(), 10),
		}
		if chat.peer == nil {
			attrs["from"], attrs["participant"] = chat.jid, m.author.ToNonAD()
			delete(attrs, "recipient")
		}
		o.add(d, waBinary.Node{Tag: "receipt", Attrs: attrs})
	}
}

// takeReceipt takes a receipt that a device sent this phone.
func (p *Phone) takeReceipt(from *Device, node *waBinary.Node) error {
	if text(node, "type") == "retry" {
		return p.resend(from, node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.noteReceipt(from, node)
}

// resend answers a device that could not read a message: the same message again, to it
// alone. A session that was opened since the message went out is good; otherwise a new one
// is opened, from the keys in the receipt or from the server.
func (p *Phone) resend(d *Device, node *waBinary.Node) error {
	retry := node.GetChildByTag("retry")
	id := text(&retry, "id")
	count, _ := strconv.Atoi(text(&retry, "count"))
	s := p.acct.s
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.sent[id]
	if m == nil {
		s.log.Warn("retry for a message that is not known", "phone", p.acct.number, "message_id", id)
		return nil
	}
	chat, err := s.chat(m.To)
	if err != nil || chat.peer != nil && d.acct != chat.peer && d.acct != p.acct {
		return nil
	}
	defer s.holdChat(chat)()
	o := s.outgoing(p.begin())
	renew := count > 1 || m.sessions[d] == p.sessions[d]
	if keys, ok := node.GetOptionalChildByTag("keys"); ok && renew {
		theirs, err := parseBundle(node, &keys)
		if err != nil {
			s.log.Warn("retry with malformed keys", "phone", p.acct.number, "message_id", id, "err", err)
			return nil
		}
		if err = p.store.open(d, theirs); err != nil {
			s.log.Warn("retry with keys that open no session", "phone", p.acct.number, "message_id", id, "err", err)
			return nil
		}
		p.sessions[d]++
		renew = false
	}
	switch count = max(count, 1); {
	case m.Peer:
		err = p.addressPeer(o, m, id, d, renew, count)
	case chat.peer == nil:
		err = p.resendMany(o, m, id, d, chat, renew, count)
	default:
		err = p.address(o, m, id, d, chat, renew, count)
	}
	if err != nil {
		return err
	}
	return o.commit()
}
