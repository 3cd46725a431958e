package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// liveSeconds is how long a client is told of reactions and views after it asked to be.
const liveSeconds = 300

// newsletterChange is a message on its way into a newsletter: a new one, or what becomes of one.
type newsletterChange struct {
	from            *Device
	id, kind, media string
	edit            types.EditAttribute
	raw             []byte
}

// handleNewsletterMessage takes what a client sends to a newsletter: in plain, since all may read
// it (send.go of whatsmeow, sendNewsletter; newsletter.go, NewsletterSendReaction).
func (s *Server) handleNewsletterMessage(c *conn, to types.JID, node *waBinary.Node) error {
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
		"class": "message", "id": text(node, "id"), "from": to, "t": strconv.FormatInt(s.now(), 10),
	}}
	var number int
	var err error
	if reaction, ok := node.GetOptionalChildByTag("reaction"); ok {
		number, err = strconv.Atoi(text(node, "server_id"))
		if err == nil {
			err = s.reactToNewsletter(c.dev.acct, to.User, text(&reaction, "code"), func(*newsletter) int { return number })
		}
	} else {
		plaintext := node.GetChildByTag("plaintext")
		raw, _ := plaintext.Content.([]byte)
		number, err = s.post(to.User, newsletterChange{
			from: c.dev, id: text(node, "id"), kind: text(node, "type"), media: text(&plaintext, "mediatype"),
			edit: types.EditAttribute(text(node, "edit")), raw: raw,
		})
	}
	var refused *iqError
	switch {
	case errors.As(err, &refused), errors.Is(err, strconv.ErrSyntax):
		ack.Attrs["error"] = strconv.Itoa(codeOf(err))
	case err != nil:
		return fmt.Errorf("newsletter message: %w", err)
	default:
		ack.Attrs["server_id"] = strconv.Itoa(number)
	}
	c.push(ack)
	return nil
}

// post adds a message, or edits or revokes the one with its id, and hands it to all
// followers. It returns the message's number.
func (s *Server) post(id string, change newsletterChange) (number int, err error) {
	err = s.editNewsletter(id, func(n *newsletter, o *outgoing) error {
		if !n.mayWrite(change.from.acct.number) {
			return ErrNotAdmin
		}
		m := n.byID(change.id)
		switch {
		case change.edit == types.EditAttributeEmpty && m != nil: // sent again, since its acknowledgement was lost
			number = m.Number
			return nil
		case change.edit == types.EditAttributeEmpty:
			m = &newsletterMessage{Number: len(n.messages) + 1, ID: change.id, Type: change.kind, MediaType: change.media, At: o.s.now()}
			n.messages = append(n.messages, m)
		case m == nil:
			return errNotFound
		}
		m.Raw, m.Changed, number = change.raw, o.s.now(), m.Number
		if change.edit == types.EditAttributeAdminRevoke {
			m.Raw = nil
		}
		n.keepMessage(o.b, m)
		node := n.stanza(m, change.edit)
		for number := range n.Followers {
			if a := s.account(number); a != nil {
				for _, d := range a.all() {
					if d != change.from || d.id == 0 { // a phone shows what it wrote as the newsletter's
						o.add(d, node)
					}
				}
			}
		}
		return nil
	})
	return number, err
}

func (n *newsletter) byID(id string) *newsletterMessage {
	if i := slices.IndexFunc(n.messages, func(m *newsletterMessage) bool { return m.ID == id }); i >= 0 {
		return n.messages[i]
	}
	return nil
}

// stanza is a message as followers get it (message.go of whatsmeow, handlePlaintextMessage).
func (n *newsletter) stanza(m *newsletterMessage, edit types.EditAttribute) waBinary.Node {
	attrs := waBinary.Attrs{
		"from": n.jid(), "id": m.ID, "server_id": strconv.Itoa(m.Number), "type": m.Type, "t": strconv.FormatInt(m.Changed, 10),
	}
	plaintext := waBinary.Node{Tag: "plaintext", Attrs: waBinary.Attrs{}, Content: m.Raw}
	if m.MediaType != "" {
		plaintext.Attrs["mediatype"] = m.MediaType
	}
	content := []waBinary.Node{plaintext}
	if edit != types.EditAttributeEmpty {
		attrs["edit"] = string(edit)
		content = append(content, waBinary.Node{Tag: "meta", Attrs: waBinary.Attrs{
			"msg_edit_t": strconv.FormatInt(m.Changed*1000, 10), "original_msg_t": strconv.FormatInt(m.At, 10),
		}})
	}
	return waBinary.Node{Tag: "message", Attrs: attrs, Content: content}
}

// reactToNewsletter notes a reaction of a follower to the message that find finds; an empty one
// takes the last one back.
func (s *Server) reactToNewsletter(a *account, id, code string, find func(*newsletter) int) error {
	return s.editNewsletter(id, func(n *newsletter, o *outgoing) error {
		m, err := n.messageFor(a, find(n))
		if err != nil {
			return err
		}
		if delete(m.Reactions, a.number); code != "" {
			if m.Reactions == nil {
				m.Reactions = map[string]string{}
			}
			m.Reactions[a.number] = code
		}
		n.updated(o, m)
		return nil
	})
}

func (n *newsletter) messageFor(a *account, number int) (*newsletterMessage, error) {
	switch {
	case !n.follows(a.number):
		return nil, ErrNotMember
	case number < 1 || number > len(n.messages):
		return nil, errNotFound
	}
	return n.messages[number-1], nil
}

// updated keeps what became of messages and tells those who asked to be told.
func (n *newsletter) updated(o *outgoing, messages ...*newsletterMessage) {
	var list []waBinary.Node
	for _, m := range messages {
		m.Changed = o.s.now()
		n.keepMessage(o.b, m)
		list = append(list, m.node(false))
	}
	node := waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": n.jid(), "type": "newsletter", "id": o.s.stanzaID(), "t": strconv.FormatInt(o.s.now(), 10),
		},
		Content: []waBinary.Node{{Tag: "live_updates", Content: list}},
	}
	for d, until := range n.live {
		if until < o.s.now() || d.Removed() {
			delete(n.live, d)
			continue
		}
		o.add(d, node)
	}
}

// takeNewsletterReceipt counts views (newsletter.go of whatsmeow, NewsletterMarkViewed).
func (s *Server) takeNewsletterReceipt(from *Device, to types.JID, node *waBinary.Node) error {
	if text(node, "type") != "view" {
		return nil
	}
	list := node.GetChildByTag("list")
	err := s.editNewsletter(to.User, func(n *newsletter, o *outgoing) error {
		var seen []*newsletterMessage
		for _, item := range list.GetChildren() {
			number, _ := strconv.Atoi(text(&item, "server_id"))
			m, err := n.messageFor(from.acct, number)
			if err != nil || m.Viewers[from.acct.number] {
				continue
			}
			if m.Viewers == nil {
				m.Viewers = map[string]bool{}
			}
			m.Viewers[from.acct.number] = true
			seen = append(seen, m)
		}
		if seen != nil {
			n.updated(o, seen...)
		}
		return nil
	})
	if errors.Is(err, ErrUnknownNewsletter) {
		return nil // a receipt is not refused
	}
	return err
}
