package simulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// ErrNotYours says that a phone may not change a message that someone else wrote.
var ErrNotYours = errors.New("the message is someone else's")

// SendLocation sends a place.
func (p *Phone) SendLocation(ctx context.Context, to string, l Location, opts SendOptions) (string, error) {
	if !(math.Abs(l.Latitude) <= 90 && math.Abs(l.Longitude) <= 180) { // so that NaN is refused, too
		return "", fmt.Errorf("%w: latitude %v, longitude %v: want -90 to 90 and -180 to 180", ErrMessage, l.Latitude, l.Longitude)
	}
	return p.Send(ctx, to, &waE2E.Message{LocationMessage: &waE2E.LocationMessage{
		DegreesLatitude: &l.Latitude, DegreesLongitude: &l.Longitude, Name: orNil(l.Name), Address: orNil(l.Address),
	}}, opts)
}

// SendContacts sends one card, or several.
func (p *Phone) SendContacts(ctx context.Context, to string, cards []Contact, opts SendOptions) (string, error) {
	if len(cards) == 0 {
		return "", fmt.Errorf("%w: no card to send", ErrMessage)
	}
	list := make([]*waE2E.ContactMessage, len(cards))
	for i, c := range cards {
		if c.Name == "" || c.VCard == "" {
			return "", fmt.Errorf("%w: card %d wants a name and a vcard", ErrMessage, i+1)
		}
		list[i] = &waE2E.ContactMessage{DisplayName: proto.String(c.Name), Vcard: proto.String(c.VCard)}
	}
	if len(list) == 1 {
		return p.Send(ctx, to, &waE2E.Message{ContactMessage: list[0]}, opts)
	}
	return p.Send(ctx, to, &waE2E.Message{ContactsArrayMessage: &waE2E.ContactsArrayMessage{
		DisplayName: proto.String(fmt.Sprintf("%d contacts", len(list))), Contacts: list,
	}}, opts)
}

// SendPoll asks a question; at most selectable options may be chosen, any number when it is 0.
func (p *Phone) SendPoll(ctx context.Context, to, question string, options []string, selectable uint32, opts SendOptions) (string, error) {
	if len(options) < 2 || len(options) > 12 || int(selectable) > len(options) {
		return "", fmt.Errorf("%w: a poll has 2 to 12 options, and lets at most all of them be chosen", ErrMessage)
	}
	if question == "" {
		return "", fmt.Errorf("%w: a poll wants a question", ErrMessage)
	}
	for i, o := range options { // a vote names an option by its text's hash
		if o == "" || slices.Contains(options[:i], o) {
			return "", fmt.Errorf("%w: option %d of the poll is empty, or there already", ErrMessage, i+1)
		}
	}
	poll := &waE2E.PollCreationMessage{Name: &question, SelectableOptionsCount: &selectable}
	for _, o := range options {
		poll.Options = append(poll.Options, &waE2E.PollCreationMessage_Option{OptionName: proto.String(o)})
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails, by its contract
	msg := &waE2E.Message{MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: secret}}
	if selectable == 1 {
		msg.PollCreationMessageV3 = poll
	} else {
		msg.PollCreationMessage = poll
	}
	return p.Send(ctx, to, msg, opts)
}

// Vote chooses options of a poll that the phone shows, in place of what it chose before.
func (p *Phone) Vote(ctx context.Context, chat, id string, options ...string) (string, error) {
	return p.act(ctx, chat, id, func(ref chatRef, target *Message) (*waE2E.Message, error) {
		if target.Poll == nil {
			return nil, fmt.Errorf("%s is no poll: %w", id, ErrUnknownMessage)
		}
		var hashes [][]byte
		for _, o := range options {
			if !slices.Contains(target.Poll.Options, o) {
				return nil, fmt.Errorf("%q is no option of the poll: %w", o, ErrUnknownMessage)
			}
			hashes = append(hashes, optionHash(o))
		}
		if limit := int(target.Poll.Selectable); limit > 0 && len(hashes) > limit {
			return nil, fmt.Errorf("%w: the poll lets %d options be chosen", ErrMessage, limit)
		}
		vote, err := sealVote(target, p.as(ref, target), hashes)
		if err != nil {
			return nil, err
		}
		target.Poll.voted(p.acct.number, hashes)
		return &waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{
			PollCreationMessageKey: p.keyOf(ref, target), Vote: vote, SenderTimestampMS: proto.Int64(p.acct.s.opts.Clock().UnixMilli()),
		}}, nil
	})
}

// React puts an emoji on a message that the phone shows, its own or another's; an empty one
// takes the last one back.
func (p *Phone) React(ctx context.Context, chat, id, emoji string) (string, error) {
	return p.act(ctx, chat, id, func(ref chatRef, target *Message) (*waE2E.Message, error) {
		target.reacted(p.acct.number, emoji)
		return &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{
			Key: p.keyOf(ref, target), Text: &emoji, SenderTimestampMS: proto.Int64(p.acct.s.opts.Clock().UnixMilli()),
		}}, nil
	})
}

// Edit changes the text of a message that the phone, or a companion of it, sent.
func (p *Phone) Edit(ctx context.Context, chat, id, text string) (string, error) {
	return p.act(ctx, chat, id, func(ref chatRef, target *Message) (*waE2E.Message, error) {
		if target.From != p.acct.number {
			return nil, fmt.Errorf("edit %s: %w", id, ErrNotYours)
		}
		content := &waE2E.Message{Conversation: &text}
		p.acct.s.edited(target, content)
		return &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{
			ProtocolMessage: &waE2E.ProtocolMessage{
				Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), Key: p.keyOf(ref, target),
				EditedMessage: content, TimestampMS: proto.Int64(p.acct.s.opts.Clock().UnixMilli()),
			},
		}}}, nil
	})
}

// Revoke deletes a message for everyone: one of the phone's own, or, in a group that it
// moderates, any.
func (p *Phone) Revoke(ctx context.Context, chat, id string) (string, error) {
	return p.act(ctx, chat, id, func(ref chatRef, target *Message) (*waE2E.Message, error) {
		if target.From != p.acct.number && !p.acct.s.mayModerate(p.acct, ref.name) {
			return nil, fmt.Errorf("revoke %s: %w", id, ErrNotYours)
		}
		key := p.keyOf(ref, target)
		target.revoked()
		return &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
			Type: waE2E.ProtocolMessage_REVOKE.Enum(), Key: key,
		}}, nil
	})
}

// SetDisappearing makes what is written in a chat from now on disappear after so many
// seconds, and tells the other end; 0 ends it.
func (p *Phone) SetDisappearing(ctx context.Context, chat string, seconds uint32) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ref, err := p.acct.s.chat(chat)
	if err != nil {
		return err
	}
	if ref.jid.Server == types.GroupServer {
		return p.acct.s.setGroupTimer(p.acct, ref.jid.User, seconds)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.send(chat, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_EPHEMERAL_SETTING.Enum(), EphemeralExpiration: &seconds,
		EphemeralSettingTimestamp: proto.Int64(p.acct.s.now()),
	}}, SendOptions{also: func(b *batch) { p.setTimer(b, ref.name, seconds) }})
	return err
}

// act sends what refers to a message that the phone shows, under the same of the phone's
// names as the message.
func (p *Phone) act(ctx context.Context, chat, id string, build func(chatRef, *Message) (*waE2E.Message, error)) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	ref, err := p.acct.s.chat(chat)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	target := p.find(ref.name, id)
	if target == nil || target.Revoked {
		return "", fmt.Errorf("%s in %s: %w", id, ref.name, ErrUnknownMessage)
	}
	before := target.clone()
	msg, err := build(ref, target)
	if err == nil {
		id, err = p.send(chat, msg, SendOptions{
			ByLID: isHidden(target.author), also: func(b *batch) { p.keep(b, target) },
		})
	}
	if err != nil {
		author := target.author
		*target = before
		target.author = author
		return "", err
	}
	return id, nil
}

// as is how the phone is named in what refers to a message.
func (p *Phone) as(chat chatRef, target *Message) jidText {
	return jidText(p.acct.as(isHidden(target.author) || chat.hidden()).String())
}

// keyOf names a message from the phone's point of view (send.go of whatsmeow, BuildMessageKey).
func (p *Phone) keyOf(chat chatRef, target *Message) *waCommon.MessageKey {
	own := target.From == p.acct.number
	remote := chat.as(isHidden(target.author))
	key := &waCommon.MessageKey{RemoteJID: proto.String(remote.String()), FromMe: &own, ID: &target.ID}
	if chat.peer == nil && !own {
		key.Participant = proto.String(target.author.ToNonAD().String())
	}
	return key
}

func orNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
