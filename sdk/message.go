// SPDX-License-Identifier: Apache-2.0

package sdk

import "time"

// Kind names what a message holds. Receivers must ignore kinds they do not know.
type Kind string

// The message kinds.
const (
	KindText     Kind = "text"
	KindImage    Kind = "image"
	KindVideo    Kind = "video"
	KindAudio    Kind = "audio"
	KindDocument Kind = "document"
	KindSticker  Kind = "sticker"
	KindLocation Kind = "location"
	KindContact  Kind = "contact"
	KindPoll     Kind = "poll"
	// KindUnknown is a message whose content this version does not name; Event.Raw holds it.
	KindUnknown Kind = "unknown"
)

// Message is one WhatsApp message, received or sent.
type Message struct {
	// ID is WhatsApp's id of the message, unique within its chat and sender.
	ID string `json:"id"`
	// Chat is the chat's JID as WhatsApp named it in this message.
	Chat string `json:"chat"`
	// From is the chat for one-to-one messages and the group for group messages.
	From string `json:"from"`
	// Participant is the sender within a group, else "".
	Participant string `json:"participant,omitempty"`
	// SenderPN and SenderLID are the sender's two names, as far as WhatsApp told
	// them: the phone number (…@s.whatsapp.net) and the LID (…@lid).
	SenderPN  string `json:"sender_pn,omitempty"`
	SenderLID string `json:"sender_lid,omitempty"`
	// FromMe is true for what the account itself sent, from any device.
	FromMe bool `json:"from_me"`
	// Name is the sender's push name.
	Name string    `json:"name,omitempty"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	// Text is the text, or the caption of a media message.
	Text      string    `json:"text,omitempty"`
	Media     *Media    `json:"media,omitempty"`
	Location  *Location `json:"location,omitempty"`
	Contacts  []Contact `json:"contacts,omitempty"`
	Poll      *Poll     `json:"poll,omitempty"`
	Quote     *Quote    `json:"quote,omitempty"`
	Mentions  []string  `json:"mentions,omitempty"`
	Forwarded bool      `json:"forwarded,omitempty"`
	ViewOnce  bool      `json:"view_once,omitempty"`
	// Expires is the lifetime in seconds of a disappearing message, else 0.
	Expires uint32 `json:"expires,omitempty"`
}

// Target names an earlier message.
type Target struct {
	Chat   string `json:"chat"`
	ID     string `json:"id"`
	Sender string `json:"sender,omitempty"`
	FromMe bool   `json:"from_me,omitempty"`
}

// Quote is the message that a message answers.
type Quote struct {
	ID string `json:"id"`
	// Participant is who wrote the quoted message.
	Participant string `json:"participant,omitempty"`
	Text        string `json:"text,omitempty"`
	HasMedia    bool   `json:"has_media,omitempty"`
}

// Media describes a file in a message. The bytes are fetched by ID.
type Media struct {
	ID     string `json:"id,omitempty"`
	MIME   string `json:"mime,omitempty"`
	Name   string `json:"name,omitempty"`
	Size   int64  `json:"size,omitempty"` // bytes
	SHA256 string `json:"sha256,omitempty"`
	Voice  bool   `json:"voice,omitempty"`
	// Duration is in seconds.
	Duration uint32 `json:"duration,omitempty"`
	Width    uint32 `json:"width,omitempty"`  // pixels
	Height   uint32 `json:"height,omitempty"` // pixels
	// Status is pending, stored or failed.
	Status string `json:"status,omitempty"`
}

// Location is a point, in degrees.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
	Live      bool    `json:"live,omitempty"`
}

// Contact is a shared contact card.
type Contact struct {
	Name  string `json:"name"`
	VCard string `json:"vcard,omitempty"`
}

// Poll is a question with options, of which up to Selectable may be chosen (0: any number).
type Poll struct {
	Question   string   `json:"question"`
	Options    []string `json:"options"`
	Selectable uint32   `json:"selectable,omitempty"`
}
