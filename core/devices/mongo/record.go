package mongo

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// record is any document of a device's; which fields mean something depends on its kind.
type record struct {
	ID      string     `bson:"_id"`
	Stamp   string     `bson:"s"`
	Gone    bool       `bson:"gone,omitempty"`
	Expires *time.Time `bson:"expires,omitempty"`
	Value   []byte     `bson:"v"` // null and empty differ
	Number  int64      `bson:"n,omitempty"`
	At      int64      `bson:"at,omitempty"`
	Print   []byte     `bson:"print,omitempty"`
	Sender  string     `bson:"sender,omitempty"`

	First    string `bson:"first,omitempty"`
	Full     string `bson:"full,omitempty"`
	Push     string `bson:"push,omitempty"`
	Business string `bson:"business,omitempty"`
	Redacted string `bson:"redacted,omitempty"`

	Muted    int64 `bson:"muted,omitempty"`
	Pinned   bool  `bson:"pinned,omitempty"`
	Archived bool  `bson:"archived,omitempty"`
}

// size is about what a record costs in memory.
func (r *record) size() int {
	const fixed = 400
	return fixed + 2*len(r.ID) + len(r.Stamp) + len(r.Value) + len(r.First) + len(r.Full) + len(r.Push) + len(r.Business)
}

// path joins the parts of an _id. What comes from outside may hold slashes and bytes
// that are no text.
func path(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

func deviceID(device string) string { return path(device, "device") }
func fenceID(device string) string  { return path("fence", device) }

// The ids of a device's documents.

func (s *Stores) sessionID(address string) string { return path(s.jid, "peer", address, "session") }

func (s *Stores) identityID(address string) string { return path(s.jid, "peer", address, "identity") }

func (s *Stores) groupID(group, user string) string {
	return path(s.jid, "peer", user, "group", group)
}

func (s *Stores) preKeyID(id uint32) string { return path(s.jid, "prekey", fmt.Sprintf("%08d", id)) }

func (s *Stores) stateID(name string) string {
	return path(s.jid, "state", name)
}

func (s *Stores) macsOf(name string, index []byte) string {
	return path(s.jid, "mac", name, hex.EncodeToString(index))
}

func (s *Stores) macID(name string, index []byte, version uint64) string {
	return s.macsOf(name, index) + fmt.Sprintf("/%016x", version)
}

func (s *Stores) eventID(hash [32]byte) string {
	return path(s.jid, "event", hex.EncodeToString(hash[:]))
}

// remembered tells the kinds that are kept in memory: those that every message asks for.
func remembered(id string) bool {
	_, rest, _ := strings.Cut(id, "/")
	kind, _, _ := strings.Cut(rest, "/")
	return kind == "peer" || kind == "contact" || kind == "token"
}

// text makes a name storable: names come from other people's phones.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func unescape(part string) (string, error) { return url.PathUnescape(part) }
