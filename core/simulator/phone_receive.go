package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/signalerror"
	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// wakePhones lets phones take what waited for them when the server was stopped.
func (s *Server) wakePhones() {
	s.mu.RLock()
	accounts := make([]*account, 0, len(s.byNumber))
	for _, a := range s.byNumber {
		accounts = append(accounts, a)
	}
	s.mu.RUnlock()
	for _, a := range accounts {
		a.phone.wake()
	}
}

// wake starts the goroutine that empties the phone's queue, unless it runs. There is
// none while the queue is empty, so that thousands of phones cost nothing.
func (p *Phone) wake() {
	p.dev.mu.Lock()
	start := !p.dev.draining && p.dev.waiting > 0
	p.dev.draining = p.dev.draining || start
	p.dev.mu.Unlock()
	if start && !p.acct.s.spawn(p.drain) {
		p.dev.mu.Lock()
		p.dev.draining = false
		p.dev.mu.Unlock()
	}
}

func (p *Phone) drain() {
	for {
		e := p.dev.oldest()
		if e == nil {
			return
		}
		if err := p.take(e); err != nil {
			p.acct.s.log.Error("phone cannot take a stanza", "phone", p.acct.number, "err", err)
			p.dev.mu.Lock()
			p.dev.draining = false
			p.dev.mu.Unlock()
			return
		}
	}
}

// oldest returns the entry that waits longest, or ends the draining.
func (d *Device) oldest() *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		d.draining = false
		return nil
	}
	return d.queue[0] // the head of a queue is never released: releasing takes it off
}

// take handles one stanza: what the phone learns from it, its confirmation and the
// stanza's release become durable together.
func (p *Phone) take(e *entry) error {
	s := p.acct.s
	from, _ := e.node.Attrs["from"].(types.JID)
	sender := s.findDevice(from)
	if e.node.Tag != "message" || sender == nil { // sender == nil: unlinked since
		return p.finish(s.outgoing(s.begin()), e)
	}
	p.mu.Lock()
	in := &incoming{p: p, o: s.outgoing(p.begin()), node: &e.node, sender: sender, from: from, id: text(&e.node, "id")}
	in.read()
	err := p.finish(in.o, e)
	var shown Message
	if in.shown != nil {
		shown = *in.shown
		p.notify()
	}
	hook := p.hook
	p.mu.Unlock()
	if err != nil {
		return err
	}
	// Only now: two phones that confirm to each other must not hold their locks meanwhile.
	for _, tell := range in.after {
		if err = tell(); err != nil {
			return err
		}
	}
	if in.shown == nil || hook == nil || shown.From == p.acct.number || shown.Copies > 1 {
		return nil
	}
	if reply := hook(shown); reply != "" {
		if _, err = p.SendText(context.Background(), shown.Chat, reply, SendOptions{Quote: shown.ID}); err != nil {
			s.log.Warn("automatic reply", "phone", p.acct.number, "err", err)
		}
	}
	return nil
}

// finish makes o and the release of e durable.
func (p *Phone) finish(o *outgoing, e *entry) error {
	if !o.b.off() {
		o.b.del(p.dev.entryKey(e.seq))
	}
	if err := o.commit(); err != nil {
		return err
	}
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	p.dev.release(e)
	p.dev.notify()
	return nil
}

// incoming is one message on its way into a phone. The phone's lock is held.
type incoming struct {
	p      *Phone
	o      *outgoing
	node   *waBinary.Node
	sender *Device
	from   types.JID
	id     string
	shown  *Message       // what the phone shows of it, if anything
	after  []func() error // what to do once the lock is free
}

func (in *incoming) read() {
	enc, _ := in.node.GetOptionalChildByTag("enc")
	content, _ := enc.Content.([]byte)
	plain, err := content, error(nil)
	if kind := text(&enc, "type"); kind != "plain" {
		plain, err = in.p.store.decrypt(in.sender, kind, content)
	}
	if errors.Is(err, signalerror.ErrOldCounter) && in.again() {
		return // the same ciphertext once more, as after a send that was repeated
	}
	msg := new(waE2E.Message)
	if err == nil {
		err = proto.Unmarshal(plain, msg)
	}
	if err != nil {
		in.p.acct.s.log.Debug("phone cannot read a message", "phone", in.p.acct.number, "message_id", in.id, "err", err)
		in.askAgain()
		return
	}
	if text(in.node, "category") == "peer" {
		return
	}
	chat, from := in.sender.acct.number, in.sender.acct.number
	if sent := msg.GetDeviceSentMessage(); sent != nil && in.sender.acct == in.p.acct {
		destination, _ := types.ParseJID(sent.GetDestinationJID())
		if chat = destination.User; in.p.acct.s.findAccount(destination) != nil {
			chat = in.p.acct.s.findAccount(destination).number
		}
		msg = sent.GetMessage()
	}
	body, quoted, ok := textOf(msg)
	if ok {
		in.show(chat, from, body, quoted)
	}
	in.confirm()
}

// textOf returns what a phone shows of a message; false when there is no text in it.
func textOf(msg *waE2E.Message) (body, quoted string, ok bool) {
	if e := msg.GetEphemeralMessage().GetMessage(); e != nil {
		msg = e
	}
	if msg.Conversation != nil {
		return msg.GetConversation(), "", true
	}
	if x := msg.GetExtendedTextMessage(); x != nil {
		return x.GetText(), x.GetContextInfo().GetStanzaID(), true
	}
	return "", "", false
}

// show adds the message to what the phone received, or counts a copy.
func (in *incoming) show(chat, from, body, quoted string) {
	p := in.p
	key := shownKey{chat, from, in.id}
	m := p.shown[key]
	if m != nil {
		m.Copies++
	} else {
		t, _ := strconv.ParseInt(text(in.node, "t"), 10, 64)
		m = &Message{
			N: len(p.received) + 1, ID: in.id, Chat: chat, From: from, Text: body, Quoted: quoted,
			Time: time.Unix(t, 0).UTC(), Copies: 1,
		}
		p.received = append(p.received, m)
		p.shown[key] = m
	}
	in.shown = m
	in.o.b.putJSON(p.receivedKey(m.N), m)
}

// again counts a copy whose ciphertext was decrypted before; false when the phone does not
// know the message.
func (in *incoming) again() bool {
	chat := in.sender.acct.number
	if recipient, ok := in.node.Attrs["recipient"].(types.JID); ok && in.sender.acct == in.p.acct {
		if a := in.p.acct.s.findAccount(recipient); a != nil {
			chat = a.number
		}
	}
	m := in.p.shown[shownKey{chat, in.sender.acct.number, in.id}]
	if m == nil {
		return false
	}
	in.show(m.Chat, m.From, m.Text, m.Quoted)
	in.confirm()
	return true
}

// confirm sends the delivery receipt: to all of the sender's devices, or, for a copy of
// what a companion sent, to that companion.
func (in *incoming) confirm() {
	attrs := waBinary.Attrs{
		"id": in.id, "from": in.p.acct.as(isHidden(in.from)), "t": strconv.FormatInt(in.p.acct.s.now(), 10),
	}
	node := waBinary.Node{Tag: "receipt", Attrs: attrs}
	if in.sender.acct == in.p.acct {
		attrs["type"] = "sender"
		if recipient, ok := in.node.Attrs["recipient"]; ok {
			attrs["recipient"] = recipient
		}
		in.o.add(in.sender, node)
		return
	}
	for _, d := range in.sender.acct.all() {
		if d.id != 0 {
			in.o.add(d, node)
			continue
		}
		in.after = append(in.after, func() error { return d.acct.phone.takeReceipt(in.p.dev, &node) })
	}
}

// askAgain asks the sender's device for the message again, with keys for a new session.
func (in *incoming) askAgain() {
	if in.sender.id == 0 {
		return // what phones send each other is not encrypted
	}
	count := 1
	if enc := in.node.GetChildByTag("enc"); text(&enc, "count") != "" {
		n, _ := strconv.Atoi(text(&enc, "count"))
		count = n + 1
	}
	if count > 4 {
		return
	}
	own := in.p.bundle()
	attrs := waBinary.Attrs{
		"id": in.id, "type": "retry", "from": in.p.acct.as(isHidden(in.from)),
		"t": strconv.FormatInt(in.p.acct.s.now(), 10),
	}
	if recipient, ok := in.node.Attrs["recipient"]; ok {
		attrs["recipient"] = recipient
	}
	in.o.add(in.sender, waBinary.Node{Tag: "receipt", Attrs: attrs, Content: []waBinary.Node{
		{Tag: "retry", Attrs: waBinary.Attrs{
			"count": strconv.Itoa(count), "id": in.id, "t": text(in.node, "t"), "v": "1",
		}},
		{Tag: "registration", Content: binary.BigEndian.AppendUint32(nil, own.registration)},
		{Tag: "keys", Content: own.nodes()[1:]},
	}})
}

// open opens a session with keys that a device sent along.
func (s *signalStore) open(d *Device, theirs *bundle) error {
	builder := session.NewBuilderFromSignal(s, addressOf(d), s.serializer)
	return builder.ProcessBundle(context.Background(), theirs.signal(d.id))
}

// parseBundle reads the keys of a retry receipt.
func parseBundle(receipt, keys *waBinary.Node) (*bundle, error) {
	registration, _ := receipt.GetChildByTag("registration").Content.([]byte)
	identity, _ := keys.GetChildByTag("identity").Content.([]byte)
	if len(registration) != 4 || len(identity) != 32 {
		return nil, fmt.Errorf("%w: registration or identity", errBadRequest)
	}
	out := &bundle{registration: binary.BigEndian.Uint32(registration), identity: [32]byte(identity), hasOneTime: true}
	for _, k := range []struct {
		tag string
		id  *uint32
		pub *[32]byte
	}{{"skey", &out.signedID, &out.signed}, {"key", &out.oneTimeID, &out.oneTime}} {
		id, err := parseKeyID(keys.GetChildByTag(k.tag, "id").Content)
		value, _ := keys.GetChildByTag(k.tag, "value").Content.([]byte)
		if err != nil || len(value) != 32 {
			return nil, fmt.Errorf("%w: %s", errBadRequest, k.tag)
		}
		*k.id, *k.pub = id, [32]byte(value)
	}
	signature, _ := keys.GetChildByTag("skey", "signature").Content.([]byte)
	if len(signature) != 64 {
		return nil, fmt.Errorf("%w: signature", errBadRequest)
	}
	out.signature = [64]byte(signature)
	return out, nil
}
