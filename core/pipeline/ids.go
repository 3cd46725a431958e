package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/wildcathub/wildcat/sdk"
)

// digest is SHA-256 over length-prefixed parts, so that no two lists of parts collide.
func digest(parts ...string) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func hashID(parts ...string) string {
	d := digest(parts...)
	return hex.EncodeToString(d[:16])
}

// EventID derives an event's id: 32 hex digits.
func EventID(account, chatKey, senderKey, waID, class string) string {
	return hashID("event", account, chatKey, senderKey, waID, class)
}

// DeliveryID derives the id of an event's delivery to an endpoint.
func DeliveryID(eventID, endpoint string) string {
	return hashID("delivery", eventID, endpoint)
}

// ReplyID derives the id of the index-th action of a rule on an event. The rule's
// version is not part of it: a changed rule must not answer a second time.
func ReplyID(eventID, rule string, index int) string {
	return hashID("reply", eventID, rule, strconv.Itoa(index))
}

// ReplyWAID derives WhatsApp's message id of a reply: the form that WhatsApp Web
// itself uses, "3EB0" and 18 upper-case hex digits.
func ReplyWAID(account, eventID, rule string, index int) string {
	d := digest("wa", account, eventID, rule, strconv.Itoa(index))
	return "3EB0" + strings.ToUpper(hex.EncodeToString(d[:9]))
}

// class is the part of an id that keeps apart what shares a WhatsApp id. It is
// never the kind of message: whatever a stanza turns out to hold, it is one event.
func class(ev *sdk.Event) string {
	switch ev.Type {
	case sdk.TypeReaction, sdk.TypeEdit, sdk.TypeRevoke, sdk.TypeMessage:
		return string(sdk.TypeMessage)
	case sdk.TypeReceipt:
		if ev.Receipt == nil {
			return string(sdk.TypeReceipt)
		}
		return hashID("receipt", ev.Receipt.Kind, strconv.Itoa(ev.Receipt.Device), strings.Join(ev.Receipt.MessageIDs, " "))
	default:
		return string(ev.Type)
	}
}
