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

// sendNewsletter is [Phone.Send] to a newsletter. An edit and a revoke go out under the id of
// what they change, a reaction is no message at all.
func (p *Phone) sendNewsletter(jid types.JID, msg *waE2E.Message, opts SendOptions) (id string, err error) {
	if id = opts.ID; id == "" {
		id = newMessageID()
	}
	inner, _ := unwrap(msg)
	change := newsletterChange{from: p.dev, id: id}
	switch protocol := inner.GetProtocolMessage(); {
	case inner.ReactionMessage != nil:
		err = p.acct.s.reactToNewsletter(p.acct, jid.User, inner.ReactionMessage.GetText(), func(n *newsletter) int {
			if m := n.byID(inner.ReactionMessage.GetKey().GetID()); m != nil {
				return m.Number
			}
			return 0
		})
	case protocol.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT && protocol != nil:
		msg, change.id, change.edit = protocol.GetEditedMessage(), protocol.GetKey().GetID(), types.EditAttributeAdminEdit
	case protocol != nil:
		msg, change.id, change.edit = &waE2E.Message{}, protocol.GetKey().GetID(), types.EditAttributeAdminRevoke
	}
	if inner.ReactionMessage == nil {
		change.kind, change.media = stanzaType(msg)
		if change.raw, err = proto.Marshal(msg); err != nil {
			return "", fmt.Errorf("marshal message: %w", err)
		}
		_, err = p.acct.s.post(jid.User, change)
	}
	if err != nil {
		return "", fmt.Errorf("write to %s: %w", jid, err)
	}
	return change.id, nil
}

// takeNewsletter takes a newsletter's message: the phone shows it as the newsletter's own.
func (p *Phone) takeNewsletter(e *entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.acct.s.outgoing(p.begin())
	p.showNewsletter(o.b, &e.node)
	p.notify()
	return p.finish(o, e)
}

func (p *Phone) showNewsletter(b *batch, node *waBinary.Node) {
	from, _ := node.Attrs["from"].(types.JID)
	raw, _ := node.GetChildByTag("plaintext").Content.([]byte)
	chat, id := from.String(), text(node, "id")
	known := p.shown[shownKey{chat, chat, id}]
	msg := new(waE2E.Message)
	if err := proto.Unmarshal(raw, msg); err != nil {
		return
	}
	switch edit := types.EditAttribute(text(node, "edit")); {
	case known != nil && edit == types.EditAttributeAdminRevoke:
		known.revoked()
	case known != nil && edit == types.EditAttributeAdminEdit:
		p.acct.s.edited(known, msg)
	case known != nil:
		known.Copies++
	default:
		inner, _ := unwrap(msg)
		m := &Message{ID: id, Chat: chat, From: chat, Copies: 1, N: len(p.received) + 1, author: from}
		if !p.acct.s.describe(inner, m) {
			return
		}
		t, _ := strconv.ParseInt(text(node, "t"), 10, 64)
		m.Time = time.Unix(t, 0).UTC()
		p.received = append(p.received, m)
		p.addShown(m)
		known = m
	}
	p.keep(b, known)
}

// CreateNewsletter makes a newsletter that the phone owns and returns its JID; [Phone.Send]
// writes to it.
func (p *Phone) CreateNewsletter(ctx context.Context, name, description string) (jid string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	n, err := p.acct.s.createNewsletter(p.acct, name, description)
	if err != nil {
		return "", fmt.Errorf("create newsletter: %w", err)
	}
	return n.jid().String(), nil
}

// Follow makes the phone's number follow a newsletter, or, with on false, stop that.
func (p *Phone) Follow(ctx context.Context, newsletter string, on bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.s.follow(p.acct, (&mexVariables{Newsletter: newsletter}).id(), on)
}
