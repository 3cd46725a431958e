package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// isoTime is how the old program, and JavaScript, write a time.
const isoTime = "2006-01-02T15:04:05.000Z"

// legacy is the flat message. The first fields, to createdAt, are as they have always
// been, in name, order and meaning; new ones are added at the end.
type legacy struct {
	AccountID     string   `json:"accountId"`
	MessageID     string   `json:"messageId"`
	ChatID        string   `json:"chatId"`
	From          string   `json:"from"`
	FromMe        bool     `json:"fromMe"`
	Timestamp     int64    `json:"timestamp"` // unix seconds
	Type          sdk.Kind `json:"type"`
	Text          string   `json:"text"`
	HasMedia      bool     `json:"hasMedia"`
	MediaURL      *string  `json:"mediaUrl"`  // relative to the hub
	MediaType     *string  `json:"mediaType"` // the kind of a media message
	QuotedMessage *quoted  `json:"quotedMessage"`
	Mentions      []string `json:"mentions"`
	CreatedAt     string   `json:"createdAt"`

	EventID string `json:"eventId"`
	Seq     uint64 `json:"seq"`
	Prev    uint64 `json:"prev"`
	Ordered bool   `json:"ordered"`

	Participant   string        `json:"participant,omitempty"`
	SenderPN      string        `json:"senderPn,omitempty"`
	SenderLID     string        `json:"senderLid,omitempty"`
	Name          string        `json:"name,omitempty"`
	MediaStatus   string        `json:"mediaStatus,omitempty"`
	MediaMimetype string        `json:"mediaMimetype,omitempty"`
	MediaFileName string        `json:"mediaFileName,omitempty"`
	MediaSize     int64         `json:"mediaSize,omitempty"`
	IsForwarded   bool          `json:"isForwarded,omitempty"`
	ViewOnce      bool          `json:"viewOnce,omitempty"`
	Expires       uint32        `json:"expires,omitempty"`
	Location      *sdk.Location `json:"location,omitempty"`
	Contacts      []sdk.Contact `json:"contacts,omitempty"`
	Poll          *sdk.Poll     `json:"poll,omitempty"`
	Tags          []string      `json:"tags,omitempty"`
}

type quoted struct {
	MessageID   string `json:"messageId"`
	Participant string `json:"participant"`
	Text        string `json:"text"`
	HasMedia    bool   `json:"hasMedia"`
}

// envelope is the shape of everything that is no message, and of messages by choice.
type envelope struct {
	ID        string        `json:"id"`
	Type      sdk.EventType `json:"type"`
	Timestamp string        `json:"timestamp"`
	Data      any           `json:"data"`
	Hub       hub           `json:"hub"`
}

type hub struct {
	Account string `json:"account"`
	Chat    string `json:"chat"`
	Seq     uint64 `json:"seq"`
	// Prev is the seq of the event queued to this receiver from this chat before, 0 if none.
	Prev    uint64   `json:"prev"`
	Schema  int      `json:"schema"`
	Ordered bool     `json:"ordered"`
	Tags    []string `json:"tags,omitempty"`
}

// render builds the request's body. It depends on nothing but the delivery.
func render(d sdk.Delivery, format Format) ([]byte, error) {
	if d.Event == nil {
		return nil, errors.New("a delivery without an event")
	}
	var v any
	if d.Event.Type == sdk.TypeMessage && d.Event.Message != nil && format == FormatLegacy {
		v = legacyBody(d)
	} else {
		v = envelopeBody(d)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as the old program wrote it
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func legacyBody(d sdk.Delivery) *legacy {
	ev, m := d.Event, d.Event.Message
	at := m.Time
	if at.IsZero() {
		at = ev.Time
	}
	l := &legacy{
		AccountID: ev.Account, MessageID: m.ID, ChatID: m.Chat, From: m.From, FromMe: m.FromMe,
		Timestamp: at.Unix(), Type: m.Kind, Text: m.Text,
		Mentions: m.Mentions, CreatedAt: iso(ev.Time),
		EventID: ev.ID, Seq: ev.Seq, Prev: d.Prev, Ordered: d.Ordered,
		Participant: m.Participant, SenderPN: m.SenderPN, SenderLID: m.SenderLID, Name: m.Name,
		IsForwarded: m.Forwarded, ViewOnce: m.ViewOnce, Expires: m.Expires,
		Location: m.Location, Contacts: m.Contacts, Poll: m.Poll, Tags: ev.Tags,
	}
	if l.Mentions == nil {
		l.Mentions = []string{}
	}
	if q := m.Quote; q != nil {
		l.QuotedMessage = &quoted{MessageID: q.ID, Participant: q.Participant, Text: q.Text, HasMedia: q.HasMedia}
	}
	if f := m.Media; f != nil {
		link := "/accounts/" + url.PathEscape(ev.Account) + "/messages/" + url.PathEscape(m.ID) + "/media"
		kind := string(m.Kind)
		l.HasMedia, l.MediaURL, l.MediaType = true, &link, &kind
		l.MediaStatus, l.MediaMimetype, l.MediaFileName, l.MediaSize = f.Status, f.MIME, f.Name, f.Size
	}
	return l
}

func envelopeBody(d sdk.Delivery) *envelope {
	ev := d.Event
	return &envelope{
		ID: ev.ID, Type: ev.Type, Timestamp: iso(ev.Time), Data: data(ev),
		Hub: hub{Account: ev.Account, Chat: ev.Chat, Seq: ev.Seq, Prev: d.Prev, Schema: 1, Ordered: d.Ordered, Tags: ev.Tags},
	}
}

// data is the part of an event that its type names.
func data(ev *sdk.Event) any {
	switch {
	case ev.Message != nil:
		return ev.Message
	case ev.Receipt != nil:
		return ev.Receipt
	case ev.Reaction != nil:
		return ev.Reaction
	case ev.Edit != nil:
		return ev.Edit
	case ev.Revoke != nil:
		return ev.Revoke
	case ev.AccountChange != nil:
		return ev.AccountChange
	case len(ev.Raw) > 0:
		return map[string]json.RawMessage{"raw": ev.Raw}
	}
	return struct{}{}
}

func iso(t time.Time) string { return t.UTC().Format(isoTime) }
