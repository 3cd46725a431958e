package simulator

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// StatusChat is the chat of status updates, as phones show it and as [Phone.Send] takes it.
const StatusChat = "status@broadcast"

// handleStatusMessage routes a client's status update to those whom it lists, or, for the answer to
// a retry, to the device that asked. Whom a status goes to is the client's decision (broadcast.go
// of whatsmeow); it names people by number or by LID, as it knows them.
func (s *Server) handleStatusMessage(c *conn, chat types.JID, node *waBinary.Node) error {
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
		"class": "message", "id": text(node, "id"), "from": chat, "t": strconv.FormatInt(s.now(), 10),
	}}
	if chat != types.StatusBroadcastJID { // another list of recipients
		ack.Attrs["error"] = strconv.Itoa(errNotFound.code)
		c.push(ack)
		return nil
	}
	m := s.newMulticast(c.dev, chat, false, node)
	if asked, ok := node.Attrs["participant"].(types.JID); ok {
		if d := s.findDevice(asked); d != nil {
			m.answer(d, node)
		}
	} else {
		accounts := m.recipients()
		m.listRecipients(accounts)
		m.send(devicesOf(accounts))
	}
	if err := m.o.commit(); err != nil {
		return fmt.Errorf("route status: %w", err)
	}
	c.push(ack)
	return nil
}

// recipients are the accounts that a client listed, and its own, each once.
func (m *multicast) recipients() []*account {
	out := []*account{m.from.acct}
	for d := range m.own {
		if !slices.Contains(out, d.acct) {
			out = append(out, d.acct)
		}
	}
	return out
}

// listRecipients tells the sender's own devices whom a status goes to (parseMessageSource of whatsmeow).
func (m *multicast) listRecipients(accounts []*account) {
	var list []waBinary.Node
	for _, a := range accounts {
		if a != m.from.acct {
			list = append(list, waBinary.Node{Tag: "to", Attrs: waBinary.Attrs{
				"jid": a.as(m.byLID), "peer_recipient_lid": a.hidden(),
			}})
		}
	}
	for _, d := range m.from.acct.all() {
		m.own[d] = append(slices.Clone(m.own[d]), waBinary.Node{Tag: "participants", Content: list})
	}
}

// statusAudience says who sees the statuses of an account.
type statusAudience struct {
	Type    types.StatusPrivacyType
	Numbers []string `json:",omitempty"` // who alone sees them, or who does not
}

// statusPrivacy answers the query for it (broadcast.go of whatsmeow, GetStatusPrivacy).
func (a *account) statusPrivacy() []waBinary.Node {
	to := statusAudience{Type: types.StatusPrivacyTypeContacts}
	if set := a.look().StatusTo; set != nil {
		to = *set
	}
	users := []waBinary.Node{}
	for _, number := range to.Numbers {
		users = append(users, waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": types.NewJID(number, types.DefaultUserServer)}})
	}
	return []waBinary.Node{{Tag: "privacy", Content: []waBinary.Node{
		{Tag: "list", Attrs: waBinary.Attrs{"type": string(to.Type), "default": "true"}, Content: users},
	}}}
}

// statusAudience are the accounts to which the phone shows a status, its own excepted.
func (a *account) statusAudience() []*account {
	set := a.look().StatusTo
	switch {
	case set == nil || set.Type == types.StatusPrivacyTypeContacts:
		return a.friends()
	case set.Type == types.StatusPrivacyTypeBlacklist:
		return slices.DeleteFunc(a.friends(), func(f *account) bool { return slices.Contains(set.Numbers, f.number) })
	}
	only, _ := a.s.accountsOf(set.Numbers) // they were there when it was set, and stay
	return slices.DeleteFunc(only, func(f *account) bool { return f == a })
}

// SetStatusPrivacy says who sees the phone's statuses: "contacts", those whom it has exchanged
// messages with; "blacklist", the same without these numbers; "whitelist", these numbers only.
func (p *Phone) SetStatusPrivacy(ctx context.Context, kind string, numbers ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	to := &statusAudience{Type: types.StatusPrivacyType(kind)}
	switch to.Type {
	case types.StatusPrivacyTypeContacts, types.StatusPrivacyTypeBlacklist, types.StatusPrivacyTypeWhitelist:
	default:
		return fmt.Errorf("status to %q: %w", kind, ErrPrivacy)
	}
	who, err := p.acct.s.accountsOf(numbers)
	if err != nil {
		return err
	}
	for _, a := range who {
		to.Numbers = append(to.Numbers, a.number)
	}
	return p.acct.change(func(rec *profileRecord, _ *outgoing) error {
		rec.StatusTo = to
		return nil
	})
}

// PostStatus shows a status update to those whom [Phone.SetStatusPrivacy] named, at first to
// everybody whom the phone has exchanged messages with.
// [Phone.Revoke] with [StatusChat] takes it back.
func (p *Phone) PostStatus(ctx context.Context, msg *waE2E.Message) (id string, err error) {
	return p.Send(ctx, StatusChat, msg, SendOptions{})
}
