package api

import (
	"encoding/json"
	"net/url"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// legacyMessage is a message as the old program stored it, and so as clients read
// it; the fields after updatedAt are new.
type legacyMessage struct {
	ID             string          `json:"_id,omitempty"`
	AccountID      string          `json:"accountId"`
	MessageID      string          `json:"messageId"`
	ChatID         string          `json:"chatId"`
	From           string          `json:"from"`
	FromMe         bool            `json:"fromMe"`
	Timestamp      int64           `json:"timestamp"` // unix seconds
	Type           string          `json:"type"`
	Text           string          `json:"text"`
	Caption        *string         `json:"caption"`
	HasMedia       bool            `json:"hasMedia"`
	MediaURL       *string         `json:"mediaUrl"`
	MediaType      *string         `json:"mediaType"`
	MediaGridFSID  *string         `json:"mediaGridFsId"`
	MediaSize      *int64          `json:"mediaSize"`
	MediaMimetype  *string         `json:"mediaMimetype"`
	MediaFileName  *string         `json:"mediaFileName"`
	MediaWidth     *uint32         `json:"mediaWidth"`
	MediaHeight    *uint32         `json:"mediaHeight"`
	QuotedMessage  *legacyQuote    `json:"quotedMessage"`
	Mentions       []string        `json:"mentions"`
	IsForwarded    bool            `json:"isForwarded"`
	RawMessage     json.RawMessage `json:"rawMessage"`
	CreatedAt      string          `json:"createdAt"`
	UpdatedAt      string          `json:"updatedAt"`
	EventID        string          `json:"eventId"`
	Name           string          `json:"name"`
	Participant    *string         `json:"participant"`
	SenderPN       *string         `json:"senderPn"`
	SenderLID      *string         `json:"senderLid"`
	MediaStatus    *string         `json:"mediaStatus"`
	Location       *sdk.Location   `json:"location,omitempty"`
	Contacts       []sdk.Contact   `json:"contacts,omitempty"`
	Poll           *sdk.Poll       `json:"poll,omitempty"`
	ViewOnce       bool            `json:"viewOnce,omitempty"`
	ExpiresSeconds uint32          `json:"expiresSeconds,omitempty"`
}

type legacyQuote struct {
	MessageID   string `json:"messageId"`
	Participant string `json:"participant"`
	Text        string `json:"text"`
	HasMedia    bool   `json:"hasMedia"`
}

// legacy turns a stored message into the contract's shape.
func legacy(m store.Message) legacyMessage {
	msg := m.Message
	if msg == nil {
		msg = &sdk.Message{}
	}
	chat := m.Chat
	if chat == "" {
		chat = msg.Chat
	}
	out := legacyMessage{
		AccountID: m.Account, MessageID: msg.ID, ChatID: chat, From: msg.From, FromMe: msg.FromMe,
		Timestamp: msg.Time.Unix(), Type: string(msg.Kind), Text: msg.Text, Mentions: msg.Mentions,
		IsForwarded: msg.Forwarded, RawMessage: m.Raw, CreatedAt: iso(m.CreatedAt), UpdatedAt: iso(m.UpdatedAt),
		EventID: m.EventID, Name: msg.Name,
		Participant: filled(msg.Participant), SenderPN: filled(msg.SenderPN), SenderLID: filled(msg.SenderLID),
		Location: msg.Location, Contacts: msg.Contacts, Poll: msg.Poll, ViewOnce: msg.ViewOnce, ExpiresSeconds: msg.Expires,
	}
	if out.Mentions == nil {
		out.Mentions = []string{}
	}
	if len(out.RawMessage) == 0 {
		out.RawMessage = json.RawMessage("null")
	}
	if q := msg.Quote; q != nil {
		out.QuotedMessage = &legacyQuote{MessageID: q.ID, Participant: q.Participant, Text: q.Text, HasMedia: q.HasMedia}
	}
	if media := msg.Media; media != nil {
		path := "/accounts/" + url.PathEscape(m.Account) + "/messages/" + url.PathEscape(msg.ID) + "/media"
		kind := string(msg.Kind)
		out.HasMedia, out.MediaURL, out.MediaType, out.Caption = true, &path, &kind, filled(msg.Text)
		out.MediaGridFSID, out.MediaMimetype, out.MediaFileName = filled(media.ID), filled(media.MIME), filled(media.Name)
		out.MediaSize, out.MediaWidth, out.MediaHeight = filled(media.Size), filled(media.Width), filled(media.Height)
		out.MediaStatus = filled(media.Status)
	}
	return out
}

// filled is null for what is not known.
func filled[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
