package simulator

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// profile is what the server knows of an account beyond its keys: what others look up,
// and who may. It has a lock of its own, held until a change is durable.
type profile struct {
	mu  sync.Mutex
	rec profileRecord
}

// What WhatsApp's apps let a person write about themselves, in characters. The server bounds
// neither, since a client that is not an app may write more.
const (
	NameLimit  = 25
	AboutLimit = 139
)

// profileRecord is a profile on disk, under pf/NUMBER.
type profileRecord struct {
	About     string            `json:",omitempty"`
	AboutAt   int64             `json:",omitempty"` // seconds
	PictureID string            `json:",omitempty"`
	Privacy   map[string]string `json:",omitempty"` // category to value, where it is not the default
	Blocked   []string          `json:",omitempty"` // JIDs, in the order of their blocking
	Timer     int64             `json:",omitempty"` // of new chats, in seconds
	TimerAt   int64             `json:",omitempty"`
	StatusTo  *statusAudience   `json:",omitempty"` // nil for all contacts
	LastSeen  int64             `json:",omitempty"` // seconds; 0 for never
	Migrated  int64             `json:",omitempty"` // when chats moved to hidden identifiers, in seconds; 0 for not yet
	Contact   string            `json:",omitempty"` // code of the contact link
	Business  *Business         `json:",omitempty"`
	Links     map[string]string `json:",omitempty"` // of a business: code to the text that the link writes
}

func (r profileRecord) clone() profileRecord {
	r.Privacy, r.Links, r.Blocked = maps.Clone(r.Privacy), maps.Clone(r.Links), slices.Clone(r.Blocked)
	return r
}

// look returns the profile as it is now.
func (a *account) look() profileRecord {
	a.profile.mu.Lock()
	defer a.profile.mu.Unlock()
	return a.profile.rec.clone()
}

// change applies a change to the profile. It becomes durable together with the
// notifications that change adds to o; an error of change leaves everything as it was.
func (a *account) change(change func(rec *profileRecord, o *outgoing) error) error {
	a.profile.mu.Lock()
	defer a.profile.mu.Unlock()
	rec, o := a.profile.rec.clone(), a.s.outgoing(a.s.begin())
	if err := change(&rec, o); err != nil {
		return err
	}
	o.b.putJSON("pf/"+a.number, rec)
	if err := o.commit(); err != nil {
		return err
	}
	a.profile.rec = rec
	return nil
}

func (s *Server) loadProfile(parts []string, value []byte) error {
	a := s.byNumber[parts[1]]
	if a == nil {
		return ErrUnknownNumber
	}
	return json.Unmarshal(value, &a.profile.rec)
}

// notice is a notification of the server's, from whom it is about.
func (o *outgoing) notice(kind string, from types.JID, content ...waBinary.Node) waBinary.Node {
	return waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": from, "type": kind, "id": o.s.stanzaID(), "t": strconv.FormatInt(o.s.now(), 10),
		},
		Content: content,
	}
}

// tellOwn tells the account's companions, all but one, of a change that one of its
// devices made (whatsmeow's notification.go, handleAccountSyncNotification).
func (o *outgoing) tellOwn(a *account, except *Device, content waBinary.Node) {
	for _, d := range a.all() {
		if d.id != 0 && d != except {
			o.add(d, o.notice("account_sync", a.pn(), content))
		}
	}
}

// tellFriends tells the companions of whom the account met and did not block.
func (o *outgoing) tellFriends(a *account, blocked []string, kind string, content waBinary.Node) {
	for _, friend := range a.friends() {
		if slices.ContainsFunc(blocked, friend.isNamed) {
			continue
		}
		for _, d := range friend.all() {
			if d.id != 0 {
				o.add(d, o.notice(kind, a.pn(), content))
			}
		}
	}
}

// isNamed says whether a JID, as text, is one of the account's.
func (a *account) isNamed(jid string) bool {
	return jid == a.pn().String() || jid == a.hidden().String()
}

// SetAbout sets the text that others see under the phone's name and tells their
// companions.
func (p *Phone) SetAbout(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.setAbout(text)
}

// About is the text that others see under the phone's name.
func (p *Phone) About() string { return p.acct.look().About }

func (a *account) setAbout(about string) error {
	return a.change(func(rec *profileRecord, o *outgoing) error {
		rec.About, rec.AboutAt = about, a.s.now()
		if rec.Privacy["status"] != "none" {
			o.tellFriends(a, rec.Blocked, "status", waBinary.Node{Tag: "set", Content: []byte(about)})
		}
		return nil
	})
}

// handleStatus sets the account's about text (whatsmeow's user.go, SetStatusMessage).
func (s *Server) handleStatus(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	if hasChild(iq, "privacy") {
		return c.dev.acct.statusPrivacy(), nil
	}
	status, ok := iq.GetOptionalChildByTag("status")
	if !ok || iq.Attrs["type"] != "set" {
		return nil, errBadRequest
	}
	return nil, c.dev.acct.setAbout(contentText(&status))
}

// handleDefaultTimer sets the timer of disappearing messages in new chats (whatsmeow's
// privacysettings.go, SetDefaultDisappearingTimer).
func (s *Server) handleDefaultTimer(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	mode := iq.GetChildByTag("disappearing_mode")
	seconds, err := strconv.ParseInt(text(&mode, "duration"), 10, 64)
	if err != nil || seconds < 0 {
		return nil, errBadRequest
	}
	return nil, c.dev.acct.setTimer(seconds)
}

func (a *account) setTimer(seconds int64) error {
	return a.change(func(rec *profileRecord, _ *outgoing) error {
		rec.Timer, rec.TimerAt = seconds, a.s.now()
		return nil
	})
}

// SetDefaultTimer sets after how long messages disappear in chats that begin from now on;
// 0 keeps them.
func (p *Phone) SetDefaultTimer(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.setTimer(int64(d / time.Second))
}

// DefaultTimer is after how long messages disappear in new chats; 0 for never.
func (p *Phone) DefaultTimer() time.Duration {
	return time.Duration(p.acct.look().Timer) * time.Second
}

// contentText is a node's content as text, whichever way it was encoded.
func contentText(n *waBinary.Node) string {
	switch content := n.Content.(type) {
	case string:
		return content
	case []byte:
		return string(content)
	}
	return ""
}
