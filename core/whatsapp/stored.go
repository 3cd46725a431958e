package whatsapp

import (
	"context"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/sdk"
)

// Stored is a message that another program received or sent, and kept.
type Stored struct {
	// ID is WhatsApp's id of the message, Time its time there.
	ID   string
	Time time.Time
	// Name is the sender's push name, "" if it is not known.
	Name string
	// Chat is the chat's JID, and ChatAlt its other name, if it is known.
	Chat, ChatAlt string
	// Sender is who wrote it in a group or a broadcast, as far as it is known; in a chat
	// of two it follows from Chat and FromMe. SenderAlt is the sender's other name.
	Sender, SenderAlt string
	FromMe            bool
	// Content is nil where it is not known.
	Content *waE2E.Message
}

// Event makes of it what the hub would have made, had it received the message itself:
// an event without ID and Seq, or nil for what only serves the protocol. Without Content
// it is a message of unknown kind, for the caller to fill in.
func (s Stored) Event(account string) (*sdk.Event, error) {
	info, err := s.info()
	if err != nil {
		return nil, fmt.Errorf("convert stored message: %w", err)
	}
	c := converter{account: account}
	evt := (&events.Message{RawMessage: s.Content, Info: info}).UnwrapRaw()
	var ev *sdk.Event
	if s.Content != nil {
		ev, err = c.message(context.Background(), evt)
	} else {
		ev, err = c.bare(&evt.Info)
	}
	if err != nil {
		return nil, fmt.Errorf("convert stored message: %w", err)
	}
	if ev != nil && info.Chat.Server == types.BroadcastServer {
		keepList(ev, text(plain(info.Chat)))
	}
	return ev, nil
}

// bare is a message of which nothing but the frame is known.
func (c *converter) bare(info *types.MessageInfo) (*sdk.Event, error) {
	src, err := c.source(context.Background(), &info.MessageSource)
	if err != nil {
		return nil, err
	}
	ev := c.event(info, src, sdk.TypeMessage)
	ev.Message = c.frame(info, src)
	return ev, nil
}

// keepList leaves what came by a broadcast list where the other program showed it; the
// hub itself would have shown it in the chat with the sender.
func keepList(ev *sdk.Event, chat string) {
	ev.Chat, ev.ChatAlt = chat, ""
	if m := ev.Message; m != nil {
		m.Chat, m.From = chat, chat
		if m.Participant == "" && !m.FromMe {
			if m.Participant = m.SenderPN; m.Participant == "" {
				m.Participant = m.SenderLID
			}
		}
	}
	if ev.Reaction != nil {
		ev.Reaction.Target.Chat = chat
	}
	if ev.Edit != nil {
		ev.Edit.Target.Chat = chat
	}
	if ev.Revoke != nil {
		ev.Revoke.Target.Chat = chat
	}
}

// info is the message's origin as whatsmeow tells it.
func (s Stored) info() (info types.MessageInfo, err error) {
	jids := [4]types.JID{}
	for i, name := range []string{s.Chat, s.ChatAlt, s.Sender, s.SenderAlt} {
		if name == "" {
			continue
		}
		if jids[i], err = types.ParseJID(name); err != nil && i == 0 {
			return info, fmt.Errorf("chat: %w", err)
		}
	}
	src := types.MessageSource{Chat: jids[0], IsFromMe: s.FromMe, Sender: jids[2], SenderAlt: jids[3]}
	switch src.Chat.Server {
	case types.GroupServer, types.BroadcastServer:
		src.IsGroup = true
	case types.NewsletterServer:
		src.Sender, src.SenderAlt = src.Chat, types.EmptyJID
	default:
		src.RecipientAlt = jids[1]
		src.Sender, src.SenderAlt = src.Chat, jids[1]
		if s.FromMe {
			src.Sender, src.SenderAlt = types.EmptyJID, types.EmptyJID
		}
	}
	return types.MessageInfo{ID: s.ID, Timestamp: s.Time, PushName: s.Name, MessageSource: src}, nil
}
