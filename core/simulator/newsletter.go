package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrUnknownNewsletter says that no newsletter has the JID or the invite code.
var ErrUnknownNewsletter = fmt.Errorf("no such newsletter: %w", errNotFound)

// newsletterLinkPrefix is what whatsmeow takes off an invite.
const newsletterLinkPrefix = "https://whatsapp.com/channel/"

// newsletterBook keeps the newsletters, which WhatsApp's apps call channels. Its lock is
// held until what a change puts into queues is in them.
type newsletterBook struct {
	mu       sync.Mutex
	byID     map[string]*newsletter
	byInvite map[string]*newsletter
}

func newNewsletterBook() newsletterBook {
	return newsletterBook{byID: map[string]*newsletter{}, byInvite: map[string]*newsletter{}}
}

// newsletter is one with its messages; the book's lock guards it.
type newsletter struct {
	newsletterRecord
	messages []*newsletterMessage // by their numbers, which begin at 1
	live     map[*Device]int64    // who is told of reactions and views, and until when
}

type newsletterRecord struct {
	ID          string
	Name        string
	Description string `json:",omitempty"`
	Created     int64
	Invite      string
	Followers   map[string]newsletterFollower // by number
}

type newsletterFollower struct {
	Role  types.NewsletterRole
	Muted bool `json:",omitempty"`
}

// newsletterMessage is one message; its number is the server's.
type newsletterMessage struct {
	Number    int
	ID        string
	Type      string
	MediaType string `json:",omitempty"`
	Raw       []byte `json:",omitempty"` // empty once it is revoked
	At        int64
	Changed   int64             // when it was edited, viewed or reacted to
	Viewers   map[string]bool   `json:",omitempty"` // by number
	Reactions map[string]string `json:",omitempty"` // by number
}

func (n *newsletter) jid() types.JID { return types.NewJID(n.ID, types.NewsletterServer) }

// mayWrite says whether a number may send messages.
func (n *newsletter) mayWrite(number string) bool {
	role := n.Followers[number].Role
	return role == types.NewsletterRoleOwner || role == types.NewsletterRoleAdmin
}

func (s *Server) loadNewsletter(_ []string, value []byte) error {
	n := &newsletter{live: map[*Device]int64{}}
	if err := json.Unmarshal(value, &n.newsletterRecord); err != nil {
		return err
	}
	s.newsletters.byID[n.ID], s.newsletters.byInvite[n.Invite] = n, n
	return nil
}

func (s *Server) loadNewsletterMessage(parts []string, value []byte) error {
	n := s.newsletters.byID[parts[1]]
	if n == nil {
		return ErrUnknownNewsletter
	}
	m := new(newsletterMessage)
	if err := json.Unmarshal(value, m); err != nil {
		return err
	}
	n.messages = append(n.messages, m)
	return nil
}

func (n *newsletter) keep(b *batch) { b.putJSON("nl/"+n.ID, &n.newsletterRecord) }

func (n *newsletter) keepMessage(b *batch, m *newsletterMessage) {
	b.putJSON(fmt.Sprintf("nm/%s/%012d", n.ID, m.Number), m)
}

// editNewsletter runs f on a newsletter and hands out what it collected. What f changes stays changed
// in memory when the journal fails, as nothing works any more then.
func (s *Server) editNewsletter(id string, f func(n *newsletter, o *outgoing) error) error {
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	n := s.newsletters.byID[id]
	if n == nil {
		return ErrUnknownNewsletter
	}
	o := s.outgoing(s.begin())
	if err := f(n, o); err != nil {
		return err
	}
	return o.commit()
}

// createNewsletter makes one; the actor owns it.
func (s *Server) createNewsletter(actor *account, name, description string) (*newsletter, error) {
	if name == "" {
		return nil, fmt.Errorf("a newsletter has a name: %w", errNotAcceptable)
	}
	n := &newsletter{
		newsletterRecord: newsletterRecord{
			ID: newGroupID(), Name: name, Description: description, Created: s.now(), Invite: "0029Va" + newInviteCode()[:18],
			Followers: map[string]newsletterFollower{actor.number: {Role: types.NewsletterRoleOwner}},
		},
		live: map[*Device]int64{},
	}
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	o := s.outgoing(s.begin())
	n.keep(o.b)
	o.newsletterNotice(n, actor, "NotificationNewsletterJoin", "xwa2_notify_newsletter_on_join", n.metadata(actor.number))
	if err := o.commit(); err != nil {
		return nil, err
	}
	s.newsletters.byID[n.ID], s.newsletters.byInvite[n.Invite] = n, n
	return n, nil
}

// follow makes an account a follower, or ends that; the owner cannot leave.
func (s *Server) follow(actor *account, id string, on bool) error {
	return s.editNewsletter(id, func(n *newsletter, o *outgoing) error {
		f, follows := n.Followers[actor.number]
		switch {
		case on && follows, !on && !follows:
			return nil
		case on:
			n.Followers[actor.number] = newsletterFollower{Role: types.NewsletterRoleSubscriber}
			o.newsletterNotice(n, actor, "NotificationNewsletterJoin", "xwa2_notify_newsletter_on_join", n.metadata(actor.number))
		case f.Role == types.NewsletterRoleOwner:
			return errNotAcceptable
		default:
			delete(n.Followers, actor.number)
			o.newsletterNotice(n, actor, "NotificationNewsletterLeave", "xwa2_notify_newsletter_on_leave",
				map[string]any{"id": n.jid(), "role": "GUEST"})
		}
		n.keep(o.b)
		return nil
	})
}

// muteNewsletter mutes a newsletter for a follower, or ends that.
func (s *Server) muteNewsletter(actor *account, id string, muted bool) error {
	return s.editNewsletter(id, func(n *newsletter, o *outgoing) error {
		f, ok := n.Followers[actor.number]
		if !ok {
			return errForbidden
		}
		f.Muted = muted
		n.Followers[actor.number] = f
		o.newsletterNotice(n, actor, "NotificationNewsletterOnMuteChange", "xwa2_notify_newsletter_on_mute_change",
			map[string]any{"id": n.jid(), "mute": muteState(muted)})
		n.keep(o.b)
		return nil
	})
}

func muteState(muted bool) string { return map[bool]string{true: "ON", false: "OFF"}[muted] }

// newsletterNotice tells an account's companions what changed between it and a newsletter
// (notification.go of whatsmeow, handleMexNotification).
func (o *outgoing) newsletterNotice(n *newsletter, a *account, op, field string, value any) {
	raw, err := json.Marshal(map[string]any{"data": map[string]any{field: value}})
	if err != nil {
		panic("marshal newsletter: " + err.Error()) // our own types: a programmer's mistake
	}
	node := waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": n.jid(), "type": "mex", "id": o.s.stanzaID(), "t": strconv.FormatInt(o.s.now(), 10),
		},
		Content: []waBinary.Node{{Tag: "update", Attrs: waBinary.Attrs{"op_name": op}, Content: raw}},
	}
	for _, d := range a.all()[1:] {
		o.add(d, node)
	}
}

// Newsletter is a newsletter as the server has it, at one moment.
type Newsletter struct {
	JID         string    `json:"jid"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
	InviteLink  string    `json:"invite_link"`
	Owner       string    `json:"owner"`
	// Followers are the numbers of all, the owner's too.
	Followers []string            `json:"followers"`
	Messages  []NewsletterMessage `json:"messages"`
}

// NewsletterMessage is a message of a [Newsletter].
type NewsletterMessage struct {
	// Number is the server's, from 1; ID is the sender's.
	Number int    `json:"number"`
	ID     string `json:"id"`
	// Views is how many have viewed it, Reactions how many reacted with what.
	Views     int            `json:"views"`
	Reactions map[string]int `json:"reactions"`
	Revoked   bool           `json:"revoked"`
}

// Newsletter returns a newsletter by its JID, or [ErrUnknownNewsletter].
func (s *Server) Newsletter(jid string) (Newsletter, error) {
	parsed, err := types.ParseJID(jid)
	if err != nil || parsed.Server != types.NewsletterServer {
		return Newsletter{}, errors.Join(ErrUnknownNewsletter, err)
	}
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	if n := s.newsletters.byID[parsed.User]; n != nil {
		return n.show(), nil
	}
	return Newsletter{}, ErrUnknownNewsletter
}

// Newsletters returns all newsletters, in the order of their JIDs.
func (s *Server) Newsletters() []Newsletter {
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	var out []Newsletter
	for _, id := range slices.Sorted(maps.Keys(s.newsletters.byID)) {
		out = append(out, s.newsletters.byID[id].show())
	}
	return out
}

func (n *newsletter) show() Newsletter {
	out := Newsletter{
		JID: n.jid().String(), Name: n.Name, Description: n.Description, Created: time.Unix(n.Created, 0).UTC(),
		InviteLink: newsletterLinkPrefix + n.Invite, Followers: slices.Sorted(maps.Keys(n.Followers)),
	}
	for number, f := range n.Followers {
		if f.Role == types.NewsletterRoleOwner {
			out.Owner = number
		}
	}
	for _, m := range n.messages {
		out.Messages = append(out.Messages, NewsletterMessage{
			Number: m.Number, ID: m.ID, Views: len(m.Viewers), Reactions: m.counts(), Revoked: m.Raw == nil,
		})
	}
	return out
}
