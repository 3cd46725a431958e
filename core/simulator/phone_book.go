package simulator

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// sentMessage is kept so that a device that could not read it can get it again.
type sentMessage struct {
	To     string // a number, or the JID of a chat that is none
	Raw    []byte // the message as others get it
	Hidden bool   `json:",omitempty"`
	Peer   bool   `json:",omitempty"` // for the account's own companions only
	Time   int64
	Shown  *shownRecord `json:",omitempty"` // nil for what is not shown, such as a reaction

	msg       *waE2E.Message
	sessions  map[*Device]int
	delivered map[string]time.Time // by device
	read      time.Time
	readers   map[string]bool // by number
}

// shownRecord is a Message on disk.
type shownRecord struct {
	*Message
	Raw    []byte    `json:"raw,omitempty"`
	Author types.JID `json:"author"`
}

// Messages returns what the phone shows of a chat, a number or a group's JID, received
// and sent, in the order in which it came and went.
func (p *Phone) Messages(chat string) []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []Message{}
	for _, m := range p.list {
		if m.Chat == chat {
			out = append(out, m.clone())
		}
	}
	return out
}

// Message returns the message of a chat with an id, as the phone shows it now.
func (p *Phone) Message(chat, id string) (Message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.find(chat, id); m != nil {
		return m.clone(), true
	}
	return Message{}, false
}

// WaitChanged waits until match accepts what the phone shows of a message: its reactions,
// votes, an edit.
func (p *Phone) WaitChanged(ctx context.Context, chat, id string, match func(Message) bool) (Message, error) {
	var found Message
	err := p.wait(ctx, "a change of message "+id, func() bool {
		m := p.find(chat, id)
		if m == nil {
			return false
		}
		found = m.clone()
		return match(found)
	})
	return found, err
}

// Chats returns the chats that the phone shows messages of, the newest first.
func (p *Phone) Chats() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, out := map[string]bool{}, []string{}
	for _, m := range slices.Backward(p.list) {
		if !seen[m.Chat] {
			seen[m.Chat] = true
			out = append(out, m.Chat)
		}
	}
	return out
}

// find looks a message up whoever wrote it; mu is held.
func (p *Phone) find(chat, id string) *Message {
	for _, from := range []string{p.acct.number, chat} {
		if m := p.shown[shownKey{chat, from, id}]; m != nil {
			return m
		}
	}
	for _, m := range slices.Backward(p.list) { // a group's: anyone may have written it
		if m.Chat == chat && m.ID == id {
			return m
		}
	}
	return nil
}

// addShown numbers a new message; mu is held.
func (p *Phone) addShown(m *Message) {
	m.Seq = 1
	if n := len(p.list); n > 0 {
		m.Seq = p.list[n-1].Seq + 1
	}
	p.list = append(p.list, m)
	p.shown[shownKey{m.Chat, m.From, m.ID}] = m
	p.takeFile(m)
}

// keep makes what became of a message durable with b; mu is held.
func (p *Phone) keep(b *batch, m *Message) {
	if m.Revoked {
		p.dropFile(m)
	}
	switch {
	case b.off():
	case m.N > 0:
		b.putJSON(p.receivedKey(m.N), m.record())
	case p.sent[m.ID] != nil:
		sent := p.sent[m.ID]
		if sent.Shown != nil {
			sent.Shown = m.record()
		}
		p.keepSent(b, m.ID, sent)
	}
}

func (p *Phone) keepSent(b *batch, id string, m *sentMessage) {
	b.putJSON("o/"+p.acct.number+"/"+id, m)
}

func (m *Message) record() *shownRecord {
	raw, err := proto.Marshal(m.Content)
	if err != nil {
		panic("marshal own message: " + err.Error()) // it was parsed, or made, here
	}
	return &shownRecord{Message: m, Raw: raw, Author: m.author}
}

func (r *shownRecord) load() (*Message, error) {
	r.author = r.Author
	if r.Raw == nil {
		return r.Message, nil
	}
	r.Content = new(waE2E.Message)
	return r.Message, proto.Unmarshal(r.Raw, r.Content)
}

// remember keeps a sent message for retries and forgets the oldest beyond the limit; mu is held.
func (p *Phone) remember(b *batch, id string, m *sentMessage) {
	if p.sent[id] == nil {
		p.order = append(p.order, id)
	}
	p.sent[id] = m
	p.keepSent(b, id, m)
	if len(p.order) > sentKept {
		p.forgetDelivery(b, p.order[0])
		delete(p.sent, p.order[0])
		b.del("o/" + p.acct.number + "/" + p.order[0])
		p.order = p.order[1:]
	}
}

func (p *Phone) loadSent(id string, value []byte) error {
	m := new(sentMessage)
	if err := json.Unmarshal(value, m); err != nil {
		return err
	}
	m.msg = new(waE2E.Message)
	if err := proto.Unmarshal(m.Raw, m.msg); err != nil {
		return err
	}
	p.sent[id] = m
	p.order = append(p.order, id) // by id after a restart: which ones are forgotten first hardly matters
	if m.Shown == nil {
		return nil
	}
	return p.loadShown(m.Shown)
}

func (p *Phone) loadReceived(value []byte) error {
	r := new(shownRecord)
	if err := json.Unmarshal(value, r); err != nil {
		return err
	}
	if err := p.loadShown(r); err != nil {
		return err
	}
	p.received = append(p.received, r.Message)
	return nil
}

func (p *Phone) loadShown(r *shownRecord) error {
	m, err := r.load()
	if err != nil {
		return err
	}
	p.list = append(p.list, m)
	p.shown[shownKey{m.Chat, m.From, m.ID}] = m
	return nil
}

// loadTimer takes what a chat's disappearing messages were set to.
func (p *Phone) loadTimer(chat string, value []byte) {
	if len(value) == 4 {
		p.timers[chat] = binary.BigEndian.Uint32(value)
	}
}

// loaded puts what was read in its order.
func (p *Phone) loaded() {
	slices.SortStableFunc(p.list, func(a, b *Message) int { return a.Seq - b.Seq })
}

func (p *Phone) receivedKey(n int) string { return fmt.Sprintf("m/%s/%012d", p.acct.number, n) }
