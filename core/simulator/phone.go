package simulator

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Phone is a simulated phone: the owner of a number, device 0 of its account. It is
// always reachable, confirms what it gets, and keeps what it received.
type Phone struct {
	acct *account
	dev  *Device

	// mu guards the rest. It is held while a message is encrypted, written and queued, so
	// that what the phone sends keeps its order.
	mu       sync.Mutex
	store    *signalStore
	sent     map[string]*sentMessage
	order    []string              // ids in sent, oldest first
	received []*Message            // by N
	list     []*Message            // what was received and what was sent, by Seq
	shown    map[shownKey]*Message // all of list
	silent   map[shownKey]bool     // what was understood and is not shown, such as a reaction
	timers   map[string]uint32     // seconds after which what is sent to a chat disappears
	sessions map[*Device]int       // how often the session with a device was opened anew
	calls    []Call                // since the server started
	hook     func(Message) string
	replies  []Reply
	changed  chan struct{}
	changes  uint64
	files    map[shownKey]mediaHash // the copies of media that the phone has
	retries  MediaRetryAnswer
}

type shownKey struct{ chat, from, id string }

// sentKept is how many sent messages a phone keeps for retries.
const sentKept = 20000

func newPhone(a *account, rec accountRecord) *Phone {
	return &Phone{
		acct: a, dev: newDevice(a, 0), store: newSignalStore(rec), sent: map[string]*sentMessage{},
		shown: map[shownKey]*Message{}, silent: map[shownKey]bool{}, timers: map[string]uint32{}, sessions: map[*Device]int{},
		files: map[shownKey]mediaHash{},
	}
}

// Number is the phone's number, digits only.
func (p *Phone) Number() string { return p.acct.number }

// Name is what the phone calls itself.
func (p *Phone) Name() string { return p.acct.pushName() }

// LID is the number's hidden identifier, without its server.
func (p *Phone) LID() string { return p.acct.lid }

// Companions are the account's linked devices.
func (p *Phone) Companions() []*Device { return p.acct.all()[1:] }

// Companion is the linked device with this id, or nil.
func (p *Phone) Companion(id uint16) *Device {
	if id == 0 {
		return nil
	}
	return p.acct.device(id)
}

// Unlink removes all companions, as "log out from all devices" on the phone does.
func (p *Phone) Unlink() error {
	for _, d := range p.Companions() {
		if err := d.Unlink(); err != nil {
			return err
		}
	}
	return p.acct.dropProposed(p.acct.allProposed()...)
}

// OnMessage makes hook see every message that the phone shows from now on, once; what the
// hook returns, if anything, is sent as an answer that quotes the message. It runs on the
// phone's own goroutine: while it does, the phone receives nothing else.
func (p *Phone) OnMessage(hook func(Message) (reply string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// AutoReply makes the phone answer every message with what reply returns for its text.
func (p *Phone) AutoReply(reply func(text string) string) {
	p.OnMessage(func(m Message) string { return reply(m.Text) })
}

// Received returns the messages numbered above after, in the order of their arrival.
func (p *Phone) Received(after int) []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	after = min(max(after, 0), len(p.received))
	out := make([]Message, 0, len(p.received)-after)
	for _, m := range p.received[after:] {
		out = append(out, m.clone())
	}
	return out
}

// WaitReceived waits until the phone shows at least n messages, and returns all.
func (p *Phone) WaitReceived(ctx context.Context, n int) ([]Message, error) {
	err := p.wait(ctx, fmt.Sprintf("message %d", n), func() bool { return len(p.received) >= n })
	return p.Received(0), err
}

// WaitMessage waits for a message that match accepts, among those shown already too.
func (p *Phone) WaitMessage(ctx context.Context, match func(Message) bool) (Message, error) {
	var found Message
	err := p.wait(ctx, "a message", func() bool {
		i := slices.IndexFunc(p.received, func(m *Message) bool { return match(*m) })
		if i >= 0 {
			found = p.received[i].clone()
		}
		return i >= 0
	})
	return found, err
}

// Delivery says what became of a message that the phone sent: the devices that have
// confirmed it, as JIDs, and when it was read; zero for not yet.
func (p *Phone) Delivery(id string) (devices []string, read time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.sent[id]
	if m == nil {
		return nil, time.Time{}
	}
	for d := range m.delivered {
		devices = append(devices, d)
	}
	slices.Sort(devices)
	return devices, m.read
}

// Sent says whether the phone sent a message with this id, as far back as it remembers.
func (p *Phone) Sent(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent[id] != nil
}

// WaitDelivery waits until match accepts what became of a message.
func (p *Phone) WaitDelivery(ctx context.Context, id string, match func(devices int, read bool) bool) error {
	return p.wait(ctx, "receipt", func() bool {
		m := p.sent[id]
		return m != nil && match(len(m.delivered), !m.read.IsZero())
	})
}

// ForgetSessions drops the phone's Signal sessions, as a restore from an old backup
// does: what comes next is undecryptable and asked for again.
func (p *Phone) ForgetSessions() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.begin()
	p.store.forget()
	return p.acct.s.journal.commit(b)
}

// begin opens a transaction over the phone's Signal state; mu is held until it is committed.
func (p *Phone) begin() *batch {
	b := p.acct.s.begin()
	p.store.tx = b
	return b
}

func (p *Phone) wait(ctx context.Context, what string, done func() bool) error {
	for {
		p.mu.Lock()
		if done() {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return contextOrClosed(ctx, what)
		}
	}
}

// Changes counts what happened to what the phone shows; for a viewer that looks again when
// it is another number.
func (p *Phone) Changes() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes
}

// notify wakes waiters; mu is held.
func (p *Phone) notify() {
	p.changes++
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// issueBundle hands out the phone's keys with a one-time prekey made for the occasion.
func (p *Phone) issueBundle() (*bundle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.begin()
	out := p.bundle()
	if err := p.acct.s.journal.commit(b); err != nil {
		return nil, err
	}
	return out, nil
}

// bundle makes the phone's keys inside a transaction; mu is held.
func (p *Phone) bundle() *bundle {
	id, pair := p.store.newOneTimeKey()
	p.acct.s.watchPreKey(p.dev, id, *pair.Pub)
	return &bundle{
		registration: p.store.registration, identity: *p.store.identity.Pub,
		signedID: p.store.signed.ID, signed: [32]byte(p.store.signed.Pub), signature: [64]byte(p.store.signed.Signature),
		hasOneTime: true, oneTimeID: id, oneTime: *pair.Pub,
	}
}
