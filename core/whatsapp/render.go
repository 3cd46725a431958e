package whatsapp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/sdk"
)

// secretSize is that of a message's secret, in bytes.
const secretSize = 32

// RenderText makes the address and the payload of a text message. The payload holds
// all that varies (the MessageSecret, 32 bytes of random), so that sending it again is
// sending the same message.
func RenderText(t Text, random io.Reader) (to string, payload []byte, err error) {
	if to, err = ParseAddress(t.To); err != nil {
		return "", nil, fmt.Errorf("render text: %w", err)
	}
	var info *waE2E.ContextInfo
	if t.Quote != nil || len(t.Mentions) > 0 {
		info = &waE2E.ContextInfo{}
	}
	for _, m := range t.Mentions {
		j, err := ParseAddress(m)
		if err != nil {
			return "", nil, fmt.Errorf("render text: mention: %w", err)
		}
		info.MentionedJID = append(info.MentionedJID, j)
	}
	if q := t.Quote; q != nil {
		info.StanzaID = proto.String(q.ID)
		if author := quotedAuthor(q, to); author != "" {
			info.Participant = proto.String(author)
		}
		info.QuotedMessage = quoted(q)
	}
	msg := writeText(t.Text, info)
	secret := make([]byte, secretSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return "", nil, fmt.Errorf("render text: message secret: %w", err)
	}
	msg.MessageContextInfo = &waE2E.MessageContextInfo{MessageSecret: secret}
	payload, err = proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return "", nil, fmt.Errorf("render text: %w", err)
	}
	return to, payload, nil
}

// quotedAuthor names who wrote the quoted message, in the chat's own way of naming.
func quotedAuthor(q *sdk.Message, to string) string {
	forms := []string{q.SenderPN, q.SenderLID}
	if strings.HasSuffix(to, "@"+types.HiddenUserServer) {
		forms = []string{q.SenderLID, q.SenderPN}
	}
	forms = append(forms, q.Participant)
	if !q.FromMe {
		forms = append(forms, q.Chat)
	}
	for _, f := range forms {
		if f != "" {
			return f
		}
	}
	return ""
}

// quoted rebuilds what the recipient shows above an answer: the text, or what it was.
func quoted(q *sdk.Message) *waE2E.Message {
	caption := func() *string {
		if q.Text == "" {
			return nil
		}
		return proto.String(q.Text)
	}
	switch q.Kind {
	case sdk.KindImage:
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: caption()}}
	case sdk.KindVideo:
		return &waE2E.Message{VideoMessage: &waE2E.VideoMessage{Caption: caption()}}
	case sdk.KindAudio:
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{PTT: proto.Bool(q.Media != nil && q.Media.Voice)}}
	case sdk.KindDocument:
		d := &waE2E.DocumentMessage{Caption: caption()}
		if q.Media != nil && q.Media.Name != "" {
			d.FileName = proto.String(q.Media.Name)
		}
		return &waE2E.Message{DocumentMessage: d}
	case sdk.KindSticker:
		return &waE2E.Message{StickerMessage: &waE2E.StickerMessage{}}
	}
	return &waE2E.Message{Conversation: proto.String(q.Text)}
}

// Renderer renders with one source of randomness; the zero value uses crypto/rand.
type Renderer struct{ Rand io.Reader }

func (r Renderer) random() io.Reader {
	if r.Rand == nil {
		return rand.Reader
	}
	return r.Rand
}

// RenderText is the function RenderText.
func (r Renderer) RenderText(to, text string, quote *sdk.Message, mentions []string) (address string, payload []byte, err error) {
	return RenderText(Text{To: to, Text: text, Quote: quote, Mentions: mentions}, r.random())
}

// NewID returns a fresh message id, in WhatsApp Web's form: "3EB0" and 18 hex digits.
func (r Renderer) NewID() string {
	var b [9]byte
	if _, err := io.ReadFull(r.random(), b[:]); err != nil {
		panic("whatsapp: no randomness: " + err.Error()) // crypto/rand itself never fails
	}
	return whatsmeowPrefix + strings.ToUpper(hex.EncodeToString(b[:]))
}

const whatsmeowPrefix = "3EB0"

// Describe returns the event of a message that we sent: what the account's phone shows.
// It comes without ID and Seq, as a handler's events do.
func (r Renderer) Describe(account, waID, to string, payload []byte, at time.Time) (*sdk.Event, error) {
	chat, err := parseJID(to)
	if err != nil {
		return nil, fmt.Errorf("describe message: %w", err)
	}
	var msg waE2E.Message
	if err := proto.Unmarshal(payload, &msg); err != nil {
		return nil, fmt.Errorf("describe message %s: %w", waID, err)
	}
	evt := (&events.Message{RawMessage: &msg, Info: types.MessageInfo{
		ID: waID, Timestamp: at,
		MessageSource: types.MessageSource{Chat: chat, IsFromMe: true, IsGroup: chat.Server == types.GroupServer},
	}}).UnwrapRaw()
	c := converter{account: account}
	ev, err := c.message(context.Background(), evt)
	if err != nil {
		return nil, fmt.Errorf("describe message %s: %w", waID, err)
	}
	if ev == nil {
		return nil, fmt.Errorf("describe message %s: %w", waID, errors.New("it holds nothing"))
	}
	return ev, nil
}
