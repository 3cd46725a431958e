package whatsapp

import (
	"context"
	"fmt"
	"strconv"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/sdk"
)

// Reactions, edits and revocations say something of an earlier message: events of
// their own type, no messages.

// target turns a message key, which is written from its sender's point of view, into ours.
func (c *converter) target(ctx context.Context, key *waCommon.MessageKey, evt *events.Message, s source) (sdk.Target, error) {
	t := sdk.Target{Chat: s.chat, ID: key.GetID()}
	switch {
	case key.GetFromMe():
		t.FromMe, t.Sender = evt.Info.IsFromMe, s.senderName
	case key.GetParticipant() != "":
		j, err := types.ParseJID(key.GetParticipant())
		if err != nil {
			return t, nil //nolint:nilerr // a bad name in a stanza: the target's id is what counts
		}
		if t.FromMe = c.isMe(j); t.FromMe {
			t.Sender = c.own.best()
			return t, nil
		}
		if t.Sender, err = c.called(ctx, j); err != nil {
			return t, fmt.Errorf("look up target's sender: %w", err)
		}
	case evt.Info.IsGroup:
		// A group's key without participant does not tell.
	case evt.Info.IsFromMe:
		t.Sender = s.chat
	default:
		// In a chat of two, what is not theirs is ours.
		t.FromMe, t.Sender = true, c.own.best()
	}
	return t, nil
}

func (c *converter) reaction(ctx context.Context, evt *events.Message, s source) (*sdk.Event, error) {
	r := evt.Message.GetReactionMessage()
	t, err := c.target(ctx, r.GetKey(), evt, s)
	if err != nil {
		return nil, err
	}
	ev := c.event(&evt.Info, s, sdk.TypeReaction)
	ev.Reaction = &sdk.Reaction{Target: t, From: s.senderName, FromMe: evt.Info.IsFromMe, Emoji: utf8(r.GetText())}
	return ev, nil
}

// protocol converts the two protocol messages that say something of a message; the
// others (key shares, history, chat settings) are the protocol's own.
func (c *converter) protocol(ctx context.Context, evt *events.Message, s source) (*sdk.Event, error) {
	p := evt.Message.GetProtocolMessage()
	switch {
	case p.Type == nil: // nothing that this version knows
		return nil, nil
	case p.GetType() == waE2E.ProtocolMessage_REVOKE:
		t, err := c.target(ctx, p.GetKey(), evt, s)
		if err != nil {
			return nil, err
		}
		ev := c.event(&evt.Info, s, sdk.TypeRevoke)
		ev.Revoke = &sdk.Revoke{Target: t, From: s.senderName, FromMe: evt.Info.IsFromMe}
		return ev, nil
	case p.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT:
		t, err := c.target(ctx, p.GetKey(), evt, s)
		if err != nil {
			return nil, err
		}
		// Who edits is who wrote, whatever the key says.
		t.FromMe, t.Sender = evt.Info.IsFromMe, s.senderName
		ev := c.event(&evt.Info, s, sdk.TypeEdit)
		ev.Edit = &sdk.Edit{Target: t, From: s.senderName, FromMe: evt.Info.IsFromMe, Text: textOf(p.GetEditedMessage())}
		ev.Raw = raw(p.GetEditedMessage())
		return ev, nil
	}
	return nil, nil
}

// newsletterEdit converts an edited post: it comes as the new content under the old id.
func (c *converter) newsletterEdit(evt *events.Message, s source) *sdk.Event {
	ev := c.event(&evt.Info, s, sdk.TypeEdit)
	ev.WAID = evt.Info.ID + "/" + strconv.FormatInt(evt.NewsletterMeta.EditTS.UnixMilli(), 10)
	ev.Time = evt.NewsletterMeta.EditTS.UTC()
	ev.Edit = &sdk.Edit{
		Target: sdk.Target{Chat: s.chat, ID: evt.Info.ID, Sender: s.senderName, FromMe: evt.Info.IsFromMe},
		From:   s.senderName, FromMe: evt.Info.IsFromMe, Text: textOf(evt.Message),
	}
	ev.Raw = raw(evt.Message)
	return ev
}

// textOf is the text or caption of any kind of content.
func textOf(p *waE2E.Message) string {
	if p == nil {
		return ""
	}
	inner := (&events.Message{RawMessage: p}).UnwrapRaw().Message
	var m sdk.Message
	for _, k := range kinds() {
		if _, _, ok := k.read(inner, &m); ok {
			break
		}
	}
	return m.Text
}
