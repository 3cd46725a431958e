package simulator

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// SendOptions of one message; the zero value is an ordinary text.
type SendOptions struct {
	// ID is the message's id; empty makes one.
	ID string
	// Quote is the id of a message of the same chat, which the receiver is shown as answered.
	Quote string
	// ByLID sends under the phone's hidden identifier in place of its number.
	ByLID bool
}

// SendText sends a text to a number and returns its id. When it returns, the message is
// encrypted and queued, durably, for every device of both numbers; messages of one phone
// keep the order of these calls.
func (p *Phone) SendText(ctx context.Context, to, text string, options ...SendOptions) (string, error) {
	var opts SendOptions
	if len(options) > 0 {
		opts = options[0]
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	number, err := cleanNumber(to)
	if err != nil {
		return "", err
	}
	s := p.acct.s
	target := s.account(number)
	if target == nil {
		return "", fmt.Errorf("%s: %w", number, ErrUnknownNumber)
	}
	if opts.ID == "" {
		opts.ID = newMessageID()
	}
	m := &sentMessage{
		To: number, Text: text, Quoted: opts.Quote, Hidden: opts.ByLID, Time: s.now(),
		sessions: map[*Device]int{}, delivered: map[string]time.Time{},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o := s.outgoing(p.begin())
	for _, d := range target.all() {
		if d != p.dev && target != p.acct {
			if err = p.address(o, m, opts.ID, d, target, false, 0); err != nil {
				return "", err
			}
		}
	}
	for _, d := range p.acct.all()[1:] {
		if err = p.address(o, m, opts.ID, d, target, false, 0); err != nil {
			return "", err
		}
	}
	p.remember(o.b, opts.ID, m)
	p.acct.meet(target, o.b)
	if err = o.commit(); err != nil {
		return "", err
	}
	return opts.ID, nil
}

// address adds the stanza of m for one device; mu is held. renew opens the session anew,
// and count is the retry that it answers, 0 for none.
//
// What one phone sends another is not encrypted: both are of this process, and no
// client sees it.
func (p *Phone) address(o *outgoing, m *sentMessage, id string, d *Device, target *account, renew bool, count int) error {
	attrs := messageAttrs(p.dev, m.Hidden, id, strconv.FormatInt(m.Time, 10), "text")
	own := d.acct == p.acct
	if own {
		setRecipient(attrs, target.as(m.Hidden), target)
	}
	plain, err := proto.Marshal(m.proto(p.acct, target, own))
	if err != nil {
		return err
	}
	enc := waBinary.Node{Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": "plain"}, Content: plain}
	if d.id != 0 {
		ciphertext, kind, err := p.store.encrypt(d, plain, renew, func() (*bundle, error) {
			p.sessions[d]++
			return p.acct.s.issueBundle(d, o)
		})
		if err != nil {
			return err
		}
		p.acct.s.watchCipher(p.dev, d, id, ciphertext)
		enc.Content, enc.Attrs["type"] = ciphertext, kind
		if m.sessions == nil {
			m.sessions = map[*Device]int{}
		}
		m.sessions[d] = p.sessions[d]
	}
	if count > 0 {
		enc.Attrs["count"] = strconv.Itoa(count)
	}
	o.add(d, waBinary.Node{Tag: "message", Attrs: attrs, Content: []waBinary.Node{enc}})
	return nil
}

// proto is the message as it is encrypted; own is the form for the sender's own devices.
func (m *sentMessage) proto(from, target *account, own bool) *waE2E.Message {
	msg := &waE2E.Message{Conversation: &m.Text}
	if m.Quoted != "" {
		msg = &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
			Text: &m.Text,
			ContextInfo: &waE2E.ContextInfo{
				StanzaID: &m.Quoted, Participant: proto.String(target.as(m.Hidden).String()),
				QuotedMessage: &waE2E.Message{Conversation: proto.String("")},
			},
		}}
	}
	if own {
		msg = &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{
			DestinationJID: proto.String(target.as(m.Hidden).String()), Message: msg,
		}}
	}
	return msg
}

// remember keeps a sent message for retries and forgets the oldest beyond the limit; mu is held.
func (p *Phone) remember(b *batch, id string, m *sentMessage) {
	if p.sent[id] == nil {
		p.order = append(p.order, id)
	}
	p.sent[id] = m
	b.putJSON("o/"+p.acct.number+"/"+id, m)
	if len(p.order) > sentKept {
		delete(p.sent, p.order[0])
		b.del("o/" + p.acct.number + "/" + p.order[0])
		p.order = p.order[1:]
	}
}

// takeReceipt takes a receipt that a device sent this phone.
func (p *Phone) takeReceipt(from *Device, node *waBinary.Node) error {
	if text(node, "type") == "retry" {
		return p.resend(from, node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := []string{text(node, "id")}
	list := node.GetChildByTag("list")
	if list.Tag == "list" {
		for _, item := range list.GetChildren() {
			ids = append(ids, text(&item, "id"))
		}
	}
	for _, id := range ids {
		m := p.sent[id]
		if m == nil {
			continue
		}
		if m.delivered == nil {
			m.delivered = map[string]time.Time{}
		}
		switch text(node, "type") {
		case "", "inactive":
			m.delivered[from.JID().String()] = p.acct.s.opts.Clock()
		case "read":
			m.read = p.acct.s.opts.Clock()
		}
	}
	p.notify()
	return nil
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
	target := s.account(m.To)
	if target == nil || d.acct != target && d.acct != p.acct {
		return nil
	}
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
	if err := p.address(o, m, id, d, target, renew, max(count, 1)); err != nil {
		return err
	}
	return o.commit()
}

func isHidden(jid types.JID) bool { return jid.Server == types.HiddenUserServer }
