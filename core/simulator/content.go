package simulator

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// The kinds of what a phone shows; see [Message.Kind].
const (
	KindText     = "text"
	KindImage    = "image"
	KindVideo    = "video"
	KindAudio    = "audio"
	KindVoice    = "voice"
	KindDocument = "document"
	KindSticker  = "sticker"
	KindLocation = "location"
	KindContact  = "contact"
	KindPoll     = "poll"
	KindOther    = "other" // a message that a phone knows no more of
)

// Message is one message that a phone shows: one per chat, sender and id, however often
// it comes.
type Message struct {
	// N numbers what the phone received, from 1; 0 for what it sent itself.
	N int `json:"n"`
	// Seq numbers what the phone shows, received and sent, from 1.
	Seq int `json:"seq"`
	// ID is the message's id on WhatsApp.
	ID string `json:"id"`
	// Chat is the number at the other end, or a group's JID.
	Chat string `json:"chat"`
	// From is the number that wrote: the phone's own for what it, or a companion of it, sent.
	From string `json:"from"`
	// Name is what the writer calls itself.
	Name string `json:"name,omitempty"`
	// Kind is one of the Kind constants.
	Kind string `json:"kind"`
	// Text is the text, or the caption of a medium.
	Text string `json:"text"`
	// Quoted is the id of the message that this one answers, or empty.
	Quoted string `json:"quoted"`
	// Mentions are the numbers that the text names, or JIDs where no phone has them.
	Mentions []string  `json:"mentions,omitempty"`
	Location *Location `json:"location,omitempty"`
	Contacts []Contact `json:"contacts,omitempty"`
	Poll     *Poll     `json:"poll,omitempty"`
	// Media is the file of a picture, a video and so on; [Phone.Download] fetches it.
	Media     *MediaInfo `json:"media,omitempty"`
	Forwarded bool       `json:"forwarded,omitempty"`
	ViewOnce  bool       `json:"view_once,omitempty"`
	// Expires is after how many seconds the message disappears, 0 for never. The
	// simulated phone keeps it all the same.
	Expires uint32 `json:"expires,omitempty"`
	Edited  bool   `json:"edited,omitempty"`
	// Revoked says that the message was deleted for everyone; what it said is gone.
	Revoked bool `json:"revoked,omitempty"`
	// Reactions holds the newest reaction of each number.
	Reactions map[string]string `json:"reactions,omitempty"`
	// Time is the server's, in seconds, as it was on the first copy.
	Time time.Time `json:"time"`
	// Copies is how often the message came: 1 when nobody sent it twice.
	Copies int `json:"copies"`
	// Content is the message as it was encrypted, without its wrappers, for what the
	// fields above leave out. Read it only: copies of the Message share it.
	Content *waE2E.Message `json:"-"`

	author types.JID // as it was named on the wire, which what refers to the message has to repeat
}

// Location is a place.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
	Name      string  `json:"name,omitempty"`
	Address   string  `json:"address,omitempty"`
	Live      bool    `json:"live,omitempty"`
}

// Contact is a card.
type Contact struct {
	Name  string `json:"name"`
	VCard string `json:"vcard"`
}

// Poll is a question with its votes.
type Poll struct {
	Question string   `json:"question"`
	Options  []string `json:"options"`
	// Selectable is how many options one may choose, 0 for any number.
	Selectable uint32 `json:"selectable"`
	// Votes holds the options that each number chose last.
	Votes map[string][]string `json:"votes,omitempty"`
}

// clone is a copy that shares nothing that changes later.
func (m *Message) clone() Message {
	out := *m
	out.Mentions, out.Contacts = slices.Clone(m.Mentions), slices.Clone(m.Contacts)
	out.Reactions = maps.Clone(m.Reactions)
	if m.Location != nil {
		location := *m.Location
		out.Location = &location
	}
	if m.Poll != nil {
		poll := *m.Poll
		poll.Votes = maps.Clone(m.Poll.Votes)
		out.Poll = &poll
	}
	return out
}

// wrappers says what was around a message.
type wrappers struct{ ephemeral, viewOnce bool }

// unwrap takes off the envelopes that change how a message is shown and not what it says.
func unwrap(msg *waE2E.Message) (*waE2E.Message, wrappers) {
	var w wrappers
	for {
		var inner *waE2E.Message
		switch {
		case msg.GetEphemeralMessage().GetMessage() != nil:
			inner, w.ephemeral = msg.GetEphemeralMessage().GetMessage(), true
		case msg.GetViewOnceMessage().GetMessage() != nil:
			inner, w.viewOnce = msg.GetViewOnceMessage().GetMessage(), true
		case msg.GetViewOnceMessageV2().GetMessage() != nil:
			inner, w.viewOnce = msg.GetViewOnceMessageV2().GetMessage(), true
		case msg.GetViewOnceMessageV2Extension().GetMessage() != nil:
			inner, w.viewOnce = msg.GetViewOnceMessageV2Extension().GetMessage(), true
		case msg.GetDocumentWithCaptionMessage().GetMessage() != nil:
			inner = msg.GetDocumentWithCaptionMessage().GetMessage()
		case msg.GetLottieStickerMessage().GetMessage() != nil:
			inner = msg.GetLottieStickerMessage().GetMessage()
		case msg.GetEditedMessage().GetMessage() != nil:
			inner = msg.GetEditedMessage().GetMessage()
		default:
			return msg, w
		}
		if inner.MessageContextInfo == nil {
			inner.MessageContextInfo = msg.MessageContextInfo
		}
		msg = inner
	}
}

// describe fills in what a phone shows of an unwrapped message; false when it shows nothing.
func (s *Server) describe(msg *waE2E.Message, m *Message) bool {
	m.Content, m.Media = msg, mediaInfo(msg)
	switch {
	case msg.Conversation != nil:
		m.Kind, m.Text = KindText, msg.GetConversation()
	case msg.ExtendedTextMessage != nil:
		m.Kind, m.Text = KindText, msg.GetExtendedTextMessage().GetText()
	case msg.ImageMessage != nil:
		m.Kind, m.Text = KindImage, msg.GetImageMessage().GetCaption()
	case msg.VideoMessage != nil:
		m.Kind, m.Text = KindVideo, msg.GetVideoMessage().GetCaption()
	case msg.PtvMessage != nil:
		m.Kind, m.Text = KindVideo, msg.GetPtvMessage().GetCaption()
	case msg.AudioMessage != nil:
		m.Kind = KindAudio
		if msg.GetAudioMessage().GetPTT() {
			m.Kind = KindVoice
		}
	case msg.DocumentMessage != nil:
		m.Kind, m.Text = KindDocument, msg.GetDocumentMessage().GetCaption()
	case msg.StickerMessage != nil:
		m.Kind = KindSticker
	case msg.LocationMessage != nil:
		l := msg.GetLocationMessage()
		m.Kind, m.Text = KindLocation, l.GetComment()
		m.Location = &Location{Latitude: l.GetDegreesLatitude(), Longitude: l.GetDegreesLongitude(), Name: l.GetName(), Address: l.GetAddress(), Live: l.GetIsLive()}
	case msg.LiveLocationMessage != nil:
		l := msg.GetLiveLocationMessage()
		m.Kind, m.Text = KindLocation, l.GetCaption()
		m.Location = &Location{Latitude: l.GetDegreesLatitude(), Longitude: l.GetDegreesLongitude(), Live: true}
	case msg.ContactMessage != nil:
		m.Kind, m.Contacts = KindContact, []Contact{{msg.GetContactMessage().GetDisplayName(), msg.GetContactMessage().GetVcard()}}
	case msg.ContactsArrayMessage != nil:
		m.Kind, m.Text = KindContact, msg.GetContactsArrayMessage().GetDisplayName()
		for _, c := range msg.GetContactsArrayMessage().GetContacts() {
			m.Contacts = append(m.Contacts, Contact{c.GetDisplayName(), c.GetVcard()})
		}
	case pollOf(msg) != nil:
		poll := pollOf(msg)
		m.Kind, m.Poll = KindPoll, &Poll{Question: poll.GetName(), Options: []string{}, Selectable: poll.GetSelectableOptionsCount()}
		for _, o := range poll.GetOptions() {
			m.Poll.Options = append(m.Poll.Options, o.GetOptionName())
		}
	case says(msg):
		m.Kind = KindOther
	default:
		return false
	}
	if info := contextOf(msg); info != nil {
		m.Quoted, m.Forwarded = info.GetStanzaID(), info.GetIsForwarded()
		m.Expires = info.GetExpiration()
		for _, jid := range info.GetMentionedJID() {
			m.Mentions = append(m.Mentions, s.numberOf(jid))
		}
	}
	m.ViewOnce = m.ViewOnce || msg.GetImageMessage().GetViewOnce() || msg.GetVideoMessage().GetViewOnce() || msg.GetAudioMessage().GetViewOnce()
	return true
}

// says whether a message of no known kind says anything: one that only hands over keys,
// for instance, does not.
func says(msg *waE2E.Message) bool {
	bare := proto.Clone(msg).(*waE2E.Message)
	bare.SenderKeyDistributionMessage, bare.MessageContextInfo = nil, nil
	bare.ReactionMessage, bare.ProtocolMessage, bare.PollUpdateMessage, bare.DeviceSentMessage = nil, nil, nil, nil
	return proto.Size(bare) > 0
}

func pollOf(msg *waE2E.Message) *waE2E.PollCreationMessage {
	for _, poll := range []*waE2E.PollCreationMessage{
		msg.GetPollCreationMessage(), msg.GetPollCreationMessageV2(), msg.GetPollCreationMessageV3(), msg.GetPollCreationMessageV5(),
	} {
		if poll != nil {
			return poll
		}
	}
	return nil
}

// numberOf is the number that a JID names, or the JID itself where no phone has it.
func (s *Server) numberOf(jid string) string {
	parsed, err := types.ParseJID(jid)
	if err != nil {
		return jid
	}
	if a := s.findAccount(parsed); a != nil {
		return a.number
	}
	return parsed.String()
}

// contextOf is what a message says about others: the one it quotes, whom it mentions.
func contextOf(msg *waE2E.Message) *waE2E.ContextInfo {
	if slot := contextSlot(msg); slot != nil {
		return *slot
	}
	return nil
}

// contextSlot is where a message keeps its context; nil for a kind that has none.
func contextSlot(msg *waE2E.Message) **waE2E.ContextInfo {
	switch {
	case msg.ExtendedTextMessage != nil:
		return &msg.ExtendedTextMessage.ContextInfo
	case msg.ImageMessage != nil:
		return &msg.ImageMessage.ContextInfo
	case msg.VideoMessage != nil:
		return &msg.VideoMessage.ContextInfo
	case msg.PtvMessage != nil:
		return &msg.PtvMessage.ContextInfo
	case msg.AudioMessage != nil:
		return &msg.AudioMessage.ContextInfo
	case msg.DocumentMessage != nil:
		return &msg.DocumentMessage.ContextInfo
	case msg.StickerMessage != nil:
		return &msg.StickerMessage.ContextInfo
	case msg.LocationMessage != nil:
		return &msg.LocationMessage.ContextInfo
	case msg.LiveLocationMessage != nil:
		return &msg.LiveLocationMessage.ContextInfo
	case msg.ContactMessage != nil:
		return &msg.ContactMessage.ContextInfo
	case msg.ContactsArrayMessage != nil:
		return &msg.ContactsArrayMessage.ContextInfo
	case pollOf(msg) != nil:
		return &pollOf(msg).ContextInfo
	}
	return nil
}

// stanzaType is the type attribute of the stanza that carries a message, and the media type
// of its ciphertext (send.go of whatsmeow, getTypeFromMessage and getMediaTypeFromMessage).
func stanzaType(msg *waE2E.Message) (kind, media string) {
	msg, _ = unwrap(msg)
	switch {
	case msg.ReactionMessage != nil:
		return "reaction", ""
	case pollOf(msg) != nil, msg.PollUpdateMessage != nil:
		return "poll", ""
	case msg.ImageMessage != nil:
		return "media", "image"
	case msg.StickerMessage != nil:
		return "media", "sticker"
	case msg.DocumentMessage != nil:
		return "media", "document"
	case msg.AudioMessage != nil && msg.AudioMessage.GetPTT():
		return "media", "ptt"
	case msg.AudioMessage != nil:
		return "media", "audio"
	case msg.VideoMessage != nil && msg.VideoMessage.GetGifPlayback():
		return "media", "gif"
	case msg.VideoMessage != nil:
		return "media", "video"
	case msg.ContactMessage != nil:
		return "media", "vcard"
	case msg.ContactsArrayMessage != nil:
		return "media", "contact_array"
	}
	return "text", "" // a location, too
}

// editAttribute is the edit attribute of the stanza (types.EditAttribute of whatsmeow).
func editAttribute(msg *waE2E.Message) types.EditAttribute {
	msg, _ = unwrap(msg)
	switch p := msg.GetProtocolMessage(); {
	case p == nil && msg.ReactionMessage != nil && msg.ReactionMessage.GetText() == "":
		return types.EditAttributeSenderRevoke
	case p == nil || p.GetKey() == nil:
	case p.GetType() == waE2E.ProtocolMessage_REVOKE && p.GetKey().GetFromMe():
		return types.EditAttributeSenderRevoke
	case p.GetType() == waE2E.ProtocolMessage_REVOKE:
		return types.EditAttributeAdminRevoke
	case p.GetType() == waE2E.ProtocolMessage_MESSAGE_EDIT && p.GetEditedMessage() != nil:
		return types.EditAttributeMessageEdit
	}
	return types.EditAttributeEmpty
}
