package legacy

import (
	"regexp"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// Message is a document of the collection messages.
type Message struct {
	// Event has neither ID nor Seq. It is a message, or what the document turned out to
	// be: a reaction, an edit, a revocation, or something that adds to another message.
	// A file in it has neither ID nor status.
	Event *sdk.Event
	// FileID is the id of the file in the bucket media, "" if the document names none.
	FileID              string
	StoredAt, UpdatedAt time.Time
}

// Why documents are left out.
const (
	reasonNoAccount = "its account is gone"
	reasonNoID      = "it has no message id"
	reasonNoChat    = "it names no chat"
	reasonNoTime    = "it has no time"
	reasonNothing   = "it holds nothing: a notice, or what could not be decrypted"
	reasonProtocol  = "it only served the protocol"
)

// maxID bounds a message's id in bytes.
const maxID = 256

// message converts a document. names has the accounts' ids by their old ones.
func message(doc fields, names map[string]string) (Message, *Skipped) {
	raw := doc.sub("rawMessage")
	key := raw.sub("key")
	id := doc.text("messageId")
	if id == "" {
		id = key.text("id")
	}
	skip := func(reason string) (Message, *Skipped) {
		name := id
		if name == "" || len(name) > maxID {
			name = doc.text("_id")
		}
		return Message{}, &Skipped{ID: name, Reason: reason}
	}
	account, known := names[doc.text("accountId")]
	if !known {
		return skip(reasonNoAccount)
	}
	if id == "" || len(id) > maxID {
		return skip(reasonNoID)
	}
	chat := jid(doc.text("chatId"), doc.text("from"), key.text("remoteJid"))
	if chat == "" {
		return skip(reasonNoChat)
	}
	at := doc.when("timestamp")
	for _, t := range []time.Time{raw.when("messageTimestamp"), doc.when("createdAt"), doc.idTime()} {
		if at.IsZero() {
			at = t
		}
	}
	if at.IsZero() {
		return skip(reasonNoTime)
	}
	s := whatsapp.Stored{
		ID: id, Time: at.Truncate(time.Second), Name: raw.text("pushName"), Chat: chat, ChatAlt: otherName(chat, key),
		Sender:    jid(key.text("participant"), raw.text("participant"), doc.text("participant")),
		SenderAlt: jid(key.text("participantAlt"), key.text("participantPn"), key.text("participantLid")),
		FromMe:    doc.flag("fromMe"), Content: content(raw.sub("message")),
	}
	if doc.get("fromMe") == nil {
		s.FromMe = key.flag("fromMe")
	}
	if s.Content == nil && len(raw) > 0 && doc.text("text", "caption") == "" && !hasFile(doc) && plainType(doc) {
		return skip(reasonNothing)
	}
	ev, err := s.Event(account)
	switch {
	case err != nil || ev != nil && ev.Chat == "":
		return skip(reasonNoChat)
	case ev == nil:
		return skip(reasonProtocol)
	}
	m := Message{Event: ev, StoredAt: doc.when("createdAt"), UpdatedAt: doc.when("updatedAt")}
	if m.StoredAt.IsZero() {
		m.StoredAt = at
	}
	if m.UpdatedAt.IsZero() {
		m.UpdatedAt = m.StoredAt
	}
	if ev.Message != nil {
		complete(ev.Message, doc)
		if ev.Message.Media != nil {
			m.FileID = doc.text("mediaGridFsId")
		}
	}
	return m, nil
}

// idTime is when an ObjectID was made.
func (f fields) idTime() time.Time {
	id, ok := f.get("_id").(bson.ObjectID)
	if !ok {
		return time.Time{}
	}
	return timeOf(id.Timestamp().Unix())
}

// jid is the first of these that names a chat or a person, without device part; "" if none does.
func jid(names ...string) string {
	for _, name := range names {
		j, err := types.ParseJID(strings.TrimSpace(name))
		if err != nil || j.User == "" || j.Server == "" || strings.ContainsAny(name, " \n\r\t\x00/") || len(name) > 128 {
			continue
		}
		j = j.ToNonAD()
		if j.Server == types.LegacyUserServer {
			j.Server = types.DefaultUserServer
		}
		return j.String()
	}
	return ""
}

// otherName is the other name of a chat of two, where the key tells it.
func otherName(chat string, key fields) string {
	for _, name := range []string{"remoteJidAlt", "senderPn", "senderLid"} {
		if alt := jid(key.text(name)); alt != "" && alt != chat {
			return alt
		}
	}
	return ""
}

func hasFile(doc fields) bool { return doc.flag("hasMedia") || doc.text("mediaGridFsId") != "" }

// plainType tells that the document does not say what it is: text was the old service's
// word for all that it did not know.
func plainType(doc fields) bool {
	switch doc.text("type") {
	case "", "text", "unknown", "protocol", "status":
		return true
	}
	return false
}

var word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,31}$`)

// complete brings what the document says into the message that the protobuf gave. What
// clients of the old service were shown comes first, but for the kind: the protobuf is
// exact there, and the service called what it could not fetch a text.
func complete(m *sdk.Message, doc fields) {
	if m.Kind == sdk.KindUnknown {
		m.Kind = kindOf(doc)
	}
	if text := doc.text("text", "caption"); text != "" {
		m.Text = text
	}
	m.Forwarded = m.Forwarded || doc.flag("isForwarded")
	var mentions []string
	for _, v := range doc.list("mentions") {
		if j := jid(textOf(v)); j != "" {
			mentions = append(mentions, j)
		}
	}
	if len(mentions) > 0 {
		m.Mentions = mentions
	}
	if q := doc.sub("quotedMessage"); q.text("messageId") != "" {
		was := m.Quote
		m.Quote = &sdk.Quote{
			ID: q.text("messageId"), Participant: jid(q.text("participant")), Text: q.text("text"), HasMedia: q.flag("hasMedia"),
		}
		if was != nil && was.ID == m.Quote.ID {
			m.Quote.HasMedia = m.Quote.HasMedia || was.HasMedia
			if m.Quote.Participant == "" {
				m.Quote.Participant = was.Participant
			}
			if m.Quote.Text == "" {
				m.Quote.Text = was.Text
			}
		}
	}
	if hasFile(doc) && m.Media == nil {
		m.Media = &sdk.Media{}
	}
	if m.Media != nil {
		completeFile(m.Media, doc)
	}
}

func completeFile(f *sdk.Media, doc fields) {
	f.Status = ""
	if v := doc.text("mediaMimetype"); v != "" {
		f.MIME = v
	}
	if v := doc.text("mediaFileName"); v != "" {
		f.Name = v
	}
	if n, ok := integer(doc.get("mediaSize")); ok && n > 0 {
		f.Size = n
	}
	for _, x := range []struct {
		name string
		to   *uint32
	}{{"mediaWidth", &f.Width}, {"mediaHeight", &f.Height}} {
		if n, ok := integer(doc.get(x.name)); ok && n > 0 && n < 1<<31 {
			*x.to = uint32(n)
		}
	}
}

// kindOf is the kind of a message by its document alone.
func kindOf(doc fields) sdk.Kind {
	name := doc.text("type")
	if hasFile(doc) && plainType(doc) {
		name = doc.text("mediaType")
		if name == "" {
			name, _, _ = strings.Cut(doc.text("mediaMimetype"), "/")
			if name == "application" {
				name = string(sdk.KindDocument)
			}
		}
	}
	if !word.MatchString(name) {
		if hasFile(doc) {
			return sdk.KindUnknown
		}
		return sdk.KindText
	}
	return sdk.Kind(name)
}
