package simulator

import (
	"crypto/sha256"

	"google.golang.org/protobuf/encoding/protowire"

	"go.mau.fi/whatsmeow/types"
)

// senderKey names one chain of a sender: a rotation begins another.
type senderKey struct {
	from *Device
	chat string
	id   uint32
}

// watchSenderKey checks one ciphertext of the kind that goes to many: an iteration that comes
// back with other bytes, or under another id, means that a sender went back to an old state.
func (s *Server) watchSenderKey(from *Device, chat types.JID, id string, ciphertext []byte) {
	key, iteration, ok := parseSenderKeyMessage(ciphertext)
	if !ok {
		return
	}
	sum := sha256.Sum256(append([]byte(id+"\x00"), ciphertext...))
	mark := [12]byte(sum[:12])
	w := &s.ciphers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.senders == nil {
		w.senders = map[senderKey]map[uint32][12]byte{}
	}
	name := senderKey{from, chat.User, key}
	seen := w.senders[name]
	if seen == nil {
		seen = map[uint32][12]byte{}
		w.senders[name] = seen
	}
	if old, ok := seen[iteration]; ok && old != mark {
		s.violate("sender key iteration repeated", "%s in %s: iteration %d, message %s", from.JID(), chat, iteration, id)
	}
	if seen[iteration] = mark; len(seen) > countersKept {
		delete(seen, iteration-countersKept)
	}
}

// parseSenderKeyMessage reads the key's id and the iteration: a version byte, a protobuf with
// them as fields 1 and 2, and a signature of 64 bytes.
func parseSenderKeyMessage(raw []byte) (key, iteration uint32, ok bool) {
	const signature = 64
	if len(raw) <= 1+signature {
		return 0, 0, false
	}
	found := 0
	for fields := raw[1 : len(raw)-signature]; len(fields) > 0; {
		number, kind, n := protowire.ConsumeTag(fields)
		if n < 0 {
			return 0, 0, false
		}
		fields = fields[n:]
		size := protowire.ConsumeFieldValue(number, kind, fields)
		if size < 0 {
			return 0, 0, false
		}
		if kind == protowire.VarintType && number <= 2 {
			value, _ := protowire.ConsumeVarint(fields)
			if number == 1 {
				key = uint32(value)
			} else {
				iteration = uint32(value)
			}
			found++
		}
		fields = fields[size:]
	}
	return key, iteration, found == 2
}
