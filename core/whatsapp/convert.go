package whatsapp

import (
	"context"
	"fmt"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/wildcathub/wildcat/sdk"
)

// converter turns whatsmeow's events into ours.
type converter struct {
	account string
	own     names
	// directory may be nil: then only the names that a stanza gives are known.
	directory directory
}

// source is where a stanza came from, in our terms.
type source struct {
	chat, chatAlt string
	sender        names
	senderName    string
	participant   string
}

func (c *converter) source(ctx context.Context, src *types.MessageSource) (s source, err error) {
	if src.IsFromMe {
		s.sender, s.senderName = c.own, c.own.best()
	} else {
		var ok bool
		if s.sender, ok, err = c.person(ctx, src.Sender, src.SenderAlt); err != nil {
			return s, fmt.Errorf("look up sender: %w", err)
		}
		if s.senderName = s.sender.best(); !ok {
			s.senderName = text(plain(src.Sender))
		}
	}
	switch src.Chat.Server {
	case types.GroupServer, types.NewsletterServer:
		s.chat = text(plain(src.Chat))
	case types.BroadcastServer:
		s.chat = text(plain(src.Chat))
		// A message from somebody's broadcast list belongs to the chat with them: nothing
		// can be answered to their list.
		if !src.IsFromMe && src.IsIncomingBroadcast() {
			s.chat, s.chatAlt = s.sender.best(), s.sender.other()
			return s, nil
		}
	default:
		alt := src.RecipientAlt
		if !src.IsFromMe {
			alt = src.SenderAlt
		}
		n, ok, err := c.person(ctx, src.Chat, alt)
		if err != nil {
			return s, fmt.Errorf("look up chat: %w", err)
		}
		if s.chat, s.chatAlt = n.best(), n.other(); !ok {
			s.chat = text(plain(src.Chat))
		}
		return s, nil
	}
	if src.IsGroup {
		s.participant = s.senderName
	}
	return s, nil
}

// event is the frame that all events of a message stanza share.
func (c *converter) event(info *types.MessageInfo, s source, t sdk.EventType) *sdk.Event {
	return &sdk.Event{Type: t, Account: c.account, Chat: s.chat, ChatAlt: s.chatAlt, WAID: info.ID, Time: info.Timestamp.UTC()}
}

// frame is a message without content.
func (c *converter) frame(info *types.MessageInfo, s source) *sdk.Message {
	return &sdk.Message{
		ID: info.ID, Chat: s.chat, From: s.chat, Participant: s.participant,
		SenderPN: text(s.sender.pn), SenderLID: text(s.sender.lid), FromMe: info.IsFromMe,
		Name: info.PushName, Time: info.Timestamp.UTC(), Kind: sdk.KindUnknown,
	}
}

// message converts a decrypted stanza. A nil event without an error is a stanza that
// only serves the protocol. An error is a lookup's: nothing is wrong with the message.
func (c *converter) message(ctx context.Context, evt *events.Message) (*sdk.Event, error) {
	p := evt.Message
	if p == nil {
		return nil, nil
	}
	s, err := c.source(ctx, &evt.Info.MessageSource)
	if err != nil {
		return nil, err
	}
	if evt.NewsletterMeta != nil && !evt.NewsletterMeta.EditTS.IsZero() {
		return c.newsletterEdit(evt, s), nil
	}
	switch {
	case p.ProtocolMessage != nil:
		return c.protocol(ctx, evt, s)
	case p.ReactionMessage != nil:
		return c.reaction(ctx, evt, s)
	case isAddOn(p):
		ev := c.event(&evt.Info, s, sdk.TypeUnparsed)
		ev.Raw = raw(p)
		return ev, nil
	}
	m := c.frame(&evt.Info, s)
	known, full, err := c.content(ctx, p, m)
	if err != nil {
		return nil, err
	}
	if !known && empty(p) {
		return nil, nil
	}
	m.ViewOnce = m.ViewOnce || evt.IsViewOnce
	ev := c.event(&evt.Info, s, sdk.TypeMessage)
	ev.Message = m
	if !full {
		ev.Raw = raw(p)
	}
	return ev, nil
}

// content fills in what a message holds. known is false when no kind claims it; full
// says that nothing of it is lost, so that the raw form is not needed.
func (c *converter) content(ctx context.Context, p *waE2E.Message, m *sdk.Message) (known, full bool, err error) {
	for _, k := range kinds() {
		info, rest, ok := k.read(p, m)
		if !ok {
			continue
		}
		m.Kind = k.name
		return true, !rest && info == nil, c.context(ctx, info, m)
	}
	return false, false, nil
}

// context reads what all kinds share: the quote, mentions and flags.
func (c *converter) context(ctx context.Context, info *waE2E.ContextInfo, m *sdk.Message) error {
	if info == nil {
		return nil
	}
	m.Forwarded = info.GetIsForwarded()
	m.Expires = info.GetExpiration()
	for _, s := range info.GetMentionedJID() {
		// As they stand: the text names them in the same form.
		if j, err := types.ParseJID(s); err == nil && text(j) != "" {
			m.Mentions = append(m.Mentions, text(plain(j)))
		}
	}
	if info.GetStanzaID() == "" {
		return nil
	}
	q := &sdk.Quote{ID: info.GetStanzaID()}
	if j, err := types.ParseJID(info.GetParticipant()); err == nil && info.GetParticipant() != "" {
		if q.Participant, err = c.called(ctx, j); err != nil {
			return fmt.Errorf("look up quoted sender: %w", err)
		}
	}
	var quoted sdk.Message
	inner := (&events.Message{RawMessage: info.GetQuotedMessage()}).UnwrapRaw().Message
	for _, k := range kinds() {
		if _, _, ok := k.read(inner, &quoted); ok {
			break
		}
	}
	q.Text, q.HasMedia = quoted.Text, quoted.Media != nil
	m.Quote = q
	return nil
}

// isAddOn names what adds to another message and is either encrypted by a secret of
// that message or not ours to interpret yet: no message of its own.
func isAddOn(p *waE2E.Message) bool {
	return p.PollUpdateMessage != nil || p.EncReactionMessage != nil || p.EncCommentMessage != nil ||
		p.EncEventResponseMessage != nil || p.SecretEncryptedMessage != nil || p.PinInChatMessage != nil ||
		p.KeepInChatMessage != nil
}

// empty says whether a message holds nothing but keys and context.
func empty(p *waE2E.Message) bool {
	nothing := true
	p.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		switch f.Name() {
		case "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage", "messageContextInfo":
			return true
		case "conversation":
			// The first stanza of a group's sender may carry keys next to an empty text.
			if p.GetConversation() == "" {
				return true
			}
		}
		nothing = false
		return false
	})
	return nothing && len(p.ProtoReflect().GetUnknown()) == 0
}

// undecryptable is the placeholder for a message that could not be decrypted. Peer
// messages, from the account's own phone to the hub, are the protocol's: no event.
func (c *converter) undecryptable(ctx context.Context, evt *events.UndecryptableMessage) (*sdk.Event, error) {
	if evt.Info.Category == "peer" {
		return nil, nil
	}
	s, err := c.source(ctx, &evt.Info.MessageSource)
	if err != nil {
		return nil, err
	}
	ev := c.event(&evt.Info, s, sdk.TypeUndecryptable)
	ev.Message = c.frame(&evt.Info, s)
	ev.Message.ViewOnce = evt.UnavailableType == events.UnavailableTypeViewOnce
	return ev, nil
}

// unparsed keeps a stanza whose conversion went wrong.
func (c *converter) unparsed(info *types.MessageInfo, content protoreflect.ProtoMessage) *sdk.Event {
	chat := text(plain(info.Chat))
	return &sdk.Event{
		Type: sdk.TypeUnparsed, Account: c.account, Chat: chat, WAID: info.ID, Time: info.Timestamp.UTC(), Raw: raw(content),
	}
}
