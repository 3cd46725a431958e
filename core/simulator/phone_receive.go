package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
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

// take handles one stanza. One that the phone panics over is given up: it must not end the
// process, now and at each start after. That it happened breaks an invariant.
func (p *Phone) take(e *entry) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p.acct.s.violate("a phone panicked", "%s: %s %s: %v\n%s", p.acct.number, e.key.class, e.key.id, r, debug.Stack())
			err = p.finish(p.acct.s.outgoing(p.acct.s.begin()), e)
		}
	}()
	return p.handle(e)
}

// handle handles one stanza: what the phone learns from it, its confirmation and the
// stanza's release become durable together.
func (p *Phone) handle(e *entry) error {
	s := p.acct.s
	from, _ := e.node.Attrs["from"].(types.JID)
	author := from
	if participant, ok := e.node.Attrs["participant"].(types.JID); ok { // of a group
		author = participant
	}
	if e.node.Tag == "message" && from.Server == types.NewsletterServer {
		return p.takeNewsletter(e)
	}
	sender := s.findDevice(author)
	if a := s.findAccount(author); sender == nil && a != nil {
		sender = formerDevice(a, author.Device) // what it sent before it was unlinked counts
	}
	if e.node.Tag != "message" || sender == nil {
		return p.finish(s.outgoing(s.begin()), e)
	}
	in := &incoming{p: p, node: &e.node, sender: sender, from: from, author: author, id: text(&e.node, "id")}
	shown, hook, err := p.learn(in, e)
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

// learn reads a message and makes durable what the phone knows then. It returns what the
// phone shows of the message, if anything.
func (p *Phone) learn(in *incoming, e *entry) (shown Message, hook func(Message) string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in.o = p.acct.s.outgoing(p.begin())
	in.read()
	err = p.finish(in.o, e)
	if in.shown != nil {
		shown = in.shown.clone()
	}
	p.notify() // also for what changed a message that was there, such as a reaction
	return shown, p.hook, err
}

// formerDevice stands for a companion that is unlinked: it names the session, and gets nothing.
func formerDevice(a *account, id uint16) *Device {
	d := newCompanion(a, deviceRecord{ID: id})
	d.removed = true
	return d
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
	from   types.JID // the sender, or the group
	author types.JID // the sender's device, as it is named on the wire
	chat   string    // as phones show it
	id     string
	shown  *Message       // what the phone shows of it, if it is new or a copy
	after  []func() error // what to do once the lock is free
}

func (in *incoming) read() {
	in.chat = in.chatName()
	for _, enc := range in.node.GetChildrenByTag("enc") {
		msg, err := in.open(&enc)
		if errors.Is(err, signalerror.ErrOldCounter) && in.again() {
			return // the same ciphertext once more, as after a send that was repeated
		}
		if err != nil {
			in.p.acct.s.log.Debug("phone cannot read a message", "phone", in.p.acct.number, "message_id", in.id, "err", err)
			in.askAgain()
			return
		}
		in.handle(msg)
	}
	if text(in.node, "category") != "peer" {
		in.confirm()
	}
}

// chatName is the chat that the stanza belongs to.
func (in *incoming) chatName() string {
	s := in.p.acct.s
	switch in.from.Server {
	case types.DefaultUserServer, types.HiddenUserServer:
	default:
		return in.from.String()
	}
	if recipient, ok := in.node.Attrs["recipient"].(types.JID); ok && in.sender.acct == in.p.acct {
		return s.numberOf(recipient.ToNonAD().String())
	}
	return in.sender.acct.number
}

// open decrypts one part of the message.
func (in *incoming) open(enc *waBinary.Node) (*waE2E.Message, error) {
	content, _ := enc.Content.([]byte)
	plain, err := content, error(nil)
	switch kind := text(enc, "type"); kind {
	case "plain":
	case "skmsg":
		plain, err = in.p.store.decryptFromMany(in.from.String(), in.sender, content)
	default:
		plain, err = in.p.store.decrypt(in.sender, kind, content)
	}
	if err != nil {
		return nil, err
	}
	msg := new(waE2E.Message)
	if err = proto.Unmarshal(plain, msg); err != nil {
		return nil, fmt.Errorf("parse message: %w", err)
	}
	return msg, nil
}

// handle does what a decrypted message says.
func (in *incoming) handle(msg *waE2E.Message) {
	in.learnKey(msg)
	if sent := msg.GetDeviceSentMessage(); sent != nil && in.sender.acct == in.p.acct {
		in.chat = in.p.acct.s.numberOf(sent.GetDestinationJID())
		inner := sent.GetMessage()
		if inner == nil {
			return
		}
		if inner.MessageContextInfo == nil {
			inner.MessageContextInfo = msg.MessageContextInfo
		}
		msg = inner
	}
	inner, around := unwrap(msg)
	m := &Message{ViewOnce: around.viewOnce}
	switch {
	case inner.ProtocolMessage != nil:
		in.protocol(inner.ProtocolMessage)
	case inner.ReactionMessage != nil:
		in.react(inner.ReactionMessage)
	case inner.PollUpdateMessage != nil:
		in.vote(inner.PollUpdateMessage)
	case in.p.acct.s.describe(inner, m):
		in.show(m)
	}
}

// show adds a message to what the phone received, or counts a copy.
func (in *incoming) show(m *Message) {
	p := in.p
	if known := p.shown[in.key()]; known != nil {
		in.copy(known)
		return
	}
	t, _ := strconv.ParseInt(text(in.node, "t"), 10, 64)
	m.N, m.ID, m.Chat, m.From, m.Name = len(p.received)+1, in.id, in.chat, in.sender.acct.number, text(in.node, "notify")
	m.Time, m.Copies, m.author = time.Unix(t, 0).UTC(), 1, in.author
	p.received = append(p.received, m)
	p.addShown(m)
	in.shown = m
	p.keep(in.o.b, m)
}

func (in *incoming) key() shownKey { return shownKey{in.chat, in.sender.acct.number, in.id} }

func (in *incoming) copy(m *Message) {
	m.Copies++
	in.shown = m
	in.p.keep(in.o.b, m)
}

// again takes a copy whose ciphertext was decrypted before; false when the phone does not
// know the message.
func (in *incoming) again() bool {
	if m := in.p.shown[in.key()]; m != nil {
		in.copy(m)
	} else if !in.p.silent[in.key()] {
		return false
	}
	in.confirm()
	return true
}

// confirm sends the delivery receipt: to all of the sender's devices, or, for a copy of
// what a companion sent, to that companion.
func (in *incoming) confirm() {
	attrs := in.receipt()
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

// receipt are the attributes of what the phone answers to the message.
func (in *incoming) receipt() waBinary.Attrs {
	attrs := waBinary.Attrs{"id": in.id, "t": strconv.FormatInt(in.p.acct.s.now(), 10)}
	if in.from.Server == types.DefaultUserServer || isHidden(in.from) {
		attrs["from"] = in.p.acct.as(isHidden(in.from))
	} else {
		attrs["from"], attrs["participant"] = in.from, in.p.acct.as(isHidden(in.author))
	}
	return attrs
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
	attrs := in.receipt()
	attrs["type"] = "retry"
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
