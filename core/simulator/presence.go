package simulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// presences are who is available, who wants to know, and who types. Only available
// devices are told, as on WhatsApp. Nothing of it is kept over a restart except when a number was
// last seen.
type presences struct {
	mu        sync.Mutex
	available map[*Device]uint64 // by the connection that said so; 0 for a phone
	watching  map[*Device]map[*account]types.JID
	typing    map[typingKey]Typing
	changed   chan struct{} // closed at the next change; nil while nobody waits
}

// typingKey is a number that types, and the number, or the group's JID, that it types to.
type typingKey struct{ from, to string }

func newPresences() presences {
	return presences{
		available: map[*Device]uint64{}, watching: map[*Device]map[*account]types.JID{}, typing: map[typingKey]Typing{},
	}
}

// online says whether a device of the account is available; mu is held.
func (p *presences) online(a *account) bool {
	for d := range p.available {
		if d.acct == a {
			return true
		}
	}
	return false
}

// last says whether a device is the only available one of its account.
func (p *presences) last(d *Device) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.available {
		if other.acct == d.acct && other != d {
			return false
		}
	}
	_, available := p.available[d]
	return available
}

// notify wakes waiters; mu is held.
func (p *presences) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// handlePresence takes what a client says of itself, and its subscriptions (whatsmeow's
// presence.go).
func (s *Server) handlePresence(c *conn, node *waBinary.Node) error {
	switch text(node, "type") {
	case "subscribe":
		to, _ := node.Attrs["to"].(types.JID)
		if a := s.findAccount(to); a != nil {
			s.watch(c.dev, a, to.ToNonAD())
		}
		return nil
	case "unsubscribe":
		to, _ := node.Attrs["to"].(types.JID)
		s.presences.mu.Lock()
		defer s.presences.mu.Unlock()
		delete(s.presences.watching[c.dev], s.findAccount(to))
		return nil
	case "", "available":
		if err := s.setAvailable(c.dev, c.id, true); err != nil {
			return err
		}
	case "unavailable":
		if err := s.setAvailable(c.dev, c.id, false); err != nil {
			return err
		}
	}
	if name := text(node, "name"); name != "" {
		return c.dev.acct.rename(name)
	}
	return nil
}

// rename changes what others are shown as the account's name, with the next message.
func (a *account) rename(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name == a.name {
		return nil
	}
	rec := a.record
	rec.Name = name
	b := a.s.begin()
	b.putJSON("a/"+a.number, rec)
	if err := a.s.journal.commit(b); err != nil {
		return err
	}
	a.name, a.record = name, rec
	return nil
}

// watch subscribes a device to an account's presence under the name that it was asked
// for, and tells it the present state.
func (s *Server) watch(d *Device, a *account, as types.JID) {
	p := &s.presences
	p.mu.Lock()
	if p.watching[d] == nil {
		p.watching[d] = map[*account]types.JID{}
	}
	p.watching[d][a] = as
	p.mu.Unlock()
	s.tellPresence(a, d)
}

// setAvailable notes what a device says of itself and tells who watches. An account is
// available while one of its devices is; when the last goes, that is when it was last seen.
func (s *Server) setAvailable(d *Device, conn uint64, available bool) error {
	p := &s.presences
	if !available && p.last(d) { // noted before anyone sees that it is gone
		if err := d.acct.change(func(rec *profileRecord, _ *outgoing) error {
			rec.LastSeen = s.now()
			return nil
		}); err != nil {
			return err
		}
	}
	p.mu.Lock()
	before := p.online(d.acct)
	_, was := p.available[d]
	if available {
		p.available[d] = conn
	} else {
		delete(p.available, d)
	}
	after := p.online(d.acct)
	p.mu.Unlock()
	if before != after {
		s.tellPresence(d.acct, nil)
	}
	if available && !was { // from here on it is told, beginning with what it missed
		p.mu.Lock()
		watched := make([]*account, 0, len(p.watching[d]))
		for a := range p.watching[d] {
			watched = append(watched, a)
		}
		p.mu.Unlock()
		for _, a := range watched {
			s.tellPresence(a, d)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notify()
	return nil
}

// presenceLost makes a device unavailable whose connection ended, and ends its
// subscriptions: a client subscribes anew after it connected.
func (s *Server) presenceLost(d *Device, conn uint64) {
	p := &s.presences
	p.mu.Lock()
	current, was := p.available[d]
	if d.connection() == nil {
		delete(p.watching, d)
	}
	p.mu.Unlock()
	if !was || current != conn {
		return
	}
	if err := s.setAvailable(d, conn, false); err != nil {
		s.log.Error("note when a number was last seen", "account", d.acct.number, "err", err)
	}
}

// tellPresence tells the available devices that watch an account, or one of them, of its state.
func (s *Server) tellPresence(a *account, only *Device) {
	type watcher struct {
		d  *Device
		as types.JID
	}
	p := &s.presences
	p.mu.Lock()
	online := p.online(a)
	var list []watcher
	for d, watched := range p.watching {
		as, ok := watched[a]
		if _, available := p.available[d]; ok && available && (only == nil || only == d) {
			list = append(list, watcher{d, as})
		}
	}
	p.mu.Unlock()
	if len(list) == 0 {
		return
	}
	rec := a.look()
	for _, w := range list {
		c := w.d.connection()
		seen := a.shows("last", w.d.acct)
		if c == nil || a.blocks(w.d.acct) || rec.privacy("online") == "match_last_seen" && !seen {
			continue
		}
		attrs := waBinary.Attrs{"from": w.as}
		if !online {
			attrs["type"] = "unavailable"
			if !seen {
				attrs["last"] = "deny"
			} else if rec.LastSeen != 0 {
				attrs["last"] = strconv.FormatInt(rec.LastSeen, 10)
			}
		}
		c.push(waBinary.Node{Tag: "presence", Attrs: attrs})
	}
}

// Presence makes the phone available, as an open app is, or unavailable.
func (p *Phone) Presence(ctx context.Context, available bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.s.setAvailable(p.dev, 0, available)
}

// Trust hands a number's companions the token that lets them look at this phone's presence
// and picture without being a stranger, as WhatsApp does once two have written to each other
// (whatsmeow's notification.go, handlePrivacyTokenNotification).
func (p *Phone) Trust(ctx context.Context, number string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ref, err := p.acct.s.chat(number)
	if err != nil {
		return err
	}
	if ref.peer == nil {
		return fmt.Errorf("%s: %w", number, ErrChat)
	}
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails, by its contract
	o := p.acct.s.outgoing(p.acct.s.begin())
	for _, d := range ref.peer.all() {
		if d.id == 0 {
			continue
		}
		o.add(d, o.notice("privacy_token", p.acct.pn(), waBinary.Node{Tag: "tokens", Content: []waBinary.Node{{
			Tag: "token",
			Attrs: waBinary.Attrs{
				"jid": ref.peer.pn(), "type": "trusted_contact", "t": strconv.FormatInt(p.acct.s.now(), 10),
			},
			Content: token,
		}}}))
	}
	return o.commit()
}

// PresenceOf says whether a number is available and when it was last; zero for never, and
// for a number that does not show it to this phone.
func (p *Phone) PresenceOf(number string) (available bool, lastSeen time.Time) {
	s := p.acct.s
	a := s.account(number)
	if a == nil || a.blocks(p.acct) {
		return false, time.Time{}
	}
	rec, seen := a.look(), a.shows("last", p.acct)
	if seen || rec.privacy("online") == "all" {
		s.presences.mu.Lock()
		available = s.presences.online(a)
		s.presences.mu.Unlock()
	}
	if seen && rec.LastSeen != 0 {
		lastSeen = time.Unix(rec.LastSeen, 0).UTC()
	}
	return available, lastSeen
}

// WaitPresence waits until a number is available to this phone, or is not.
func (p *Phone) WaitPresence(ctx context.Context, number string, available bool) error {
	return p.acct.s.presences.wait(ctx, "presence", func() bool {
		now, _ := p.PresenceOf(number)
		return now == available
	})
}

// wait waits until done is true; it is called without a lock.
func (p *presences) wait(ctx context.Context, what string, done func() bool) error {
	for {
		p.mu.Lock()
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return contextOrClosed(ctx, what)
		}
	}
}
