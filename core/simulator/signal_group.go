package simulator

import (
	"context"
	"encoding/json"
	"fmt"

	"go.mau.fi/libsignal/groups"
	grouprecord "go.mau.fi/libsignal/groups/state/record"
	"go.mau.fi/libsignal/protocol"
)

// senderKeys are a phone's half of the chats with many: its own chains, those that others
// gave it, and who was given its own. They are kept as bytes: an attempt that fails then
// leaves nothing half changed.
type senderKeys struct {
	records map[string][]byte          // by chat and address
	given   map[string]map[string]bool // by chat: the devices, by LID, that have the phone's own key
}

func newSenderKeys() senderKeys {
	return senderKeys{records: map[string][]byte{}, given: map[string]map[string]bool{}}
}

func senderKeyName(chat string, of *Device) *protocol.SenderKeyName {
	return protocol.NewSenderKeyName(chat, addressOf(of))
}

func senderKeyPath(name *protocol.SenderKeyName) string {
	return name.GroupID() + "/" + name.Sender().String()
}

// shareKey returns what gives a device the phone's own key of a chat, as it is now: it
// opens what is encrypted afterwards. The key is made when there is none.
func (s *signalStore) shareKey(chat string, own *Device) ([]byte, error) {
	m, err := groups.NewGroupSessionBuilder(s, s.serializer).Create(context.Background(), senderKeyName(chat, own))
	if err != nil {
		return nil, fmt.Errorf("make sender key of %s: %w", chat, err)
	}
	return m.Serialize(), nil
}

// encryptForMany encrypts with the phone's own key of a chat, which is there.
func (s *signalStore) encryptForMany(chat string, own *Device, plain []byte) ([]byte, error) {
	builder := groups.NewGroupSessionBuilder(s, s.serializer)
	out, err := groups.NewGroupCipher(builder, senderKeyName(chat, own), s).Encrypt(context.Background(), pad(plain))
	if err != nil {
		return nil, fmt.Errorf("encrypt for %s: %w", chat, err)
	}
	return out.SignedSerialize(), nil
}

// learnKey takes a device's key of a chat.
func (s *signalStore) learnKey(chat string, from *Device, raw []byte) (err error) {
	defer recoverMalformed(&err)
	m, err := protocol.NewSenderKeyDistributionMessageFromBytes(raw, s.serializer.SenderKeyDistributionMessage)
	if err != nil {
		return fmt.Errorf("parse sender key: %w", err)
	}
	return groups.NewGroupSessionBuilder(s, s.serializer).Process(context.Background(), senderKeyName(chat, from), m)
}

// decryptFromMany decrypts what a device encrypted for all of a chat.
func (s *signalStore) decryptFromMany(chat string, from *Device, ciphertext []byte) (plain []byte, err error) {
	defer recoverMalformed(&err)
	m, err := protocol.NewSenderKeyMessageFromBytes(ciphertext, s.serializer.SenderKeyMessage)
	if err != nil {
		return nil, fmt.Errorf("parse message for many: %w", err)
	}
	builder := groups.NewGroupSessionBuilder(s, s.serializer)
	if plain, err = groups.NewGroupCipher(builder, senderKeyName(chat, from), s).Decrypt(context.Background(), m); err != nil {
		return nil, err
	}
	return unpad(plain)
}

// recoverMalformed turns a panic into an error: libsignal indexes what it is given without
// looking at its length.
func recoverMalformed(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("malformed ciphertext: %v", r)
	}
}

// giveKey says which devices still lack the phone's own key of a chat that goes to devices. A
// key that somebody has who is not among them any more, since they left, were removed or
// unlinked, is thrown away: nobody has the next one.
func (s *signalStore) giveKey(chat string, own *Device, devices []*Device) (lacking []*Device) {
	now := map[string]bool{}
	for _, d := range devices {
		now[d.LID().String()] = true
	}
	for name := range s.senders.given[chat] {
		if !now[name] {
			s.dropKey(chat, own)
			break
		}
	}
	for _, d := range devices {
		if !s.senders.given[chat][d.LID().String()] {
			lacking = append(lacking, d)
		}
	}
	return lacking
}

// gave notes that devices are being given the phone's own key of a chat.
func (s *signalStore) gave(chat string, devices ...*Device) {
	have := s.senders.given[chat]
	if have == nil {
		have = map[string]bool{}
		s.senders.given[chat] = have
	}
	for _, d := range devices {
		have[d.LID().String()] = true
	}
	s.tx.putJSON(s.givenKey(chat), have)
}

func (s *signalStore) dropKey(chat string, own *Device) {
	path := senderKeyPath(senderKeyName(chat, own))
	delete(s.senders.records, path)
	s.tx.del(s.senderKey(path))
	delete(s.senders.given, chat)
	s.tx.del(s.givenKey(chat))
}

// forgetSenders drops all sender keys, the phone's own too.
func (s *signalStore) forgetSenders() {
	for path := range s.senders.records {
		s.tx.del(s.senderKey(path))
	}
	for chat := range s.senders.given {
		s.tx.del(s.givenKey(chat))
	}
	s.senders = newSenderKeys()
}

func (s *signalStore) senderKey(path string) string { return "sk/" + s.number + "/" + path }
func (s *signalStore) givenKey(chat string) string  { return "sg/" + s.number + "/" + chat }

// loadSenderKey takes a sender key from the journal.
func (s *signalStore) loadSenderKey(path string, raw []byte) { s.senders.records[path] = raw }

// loadGiven takes from the journal who has the phone's own key of a chat.
func (s *signalStore) loadGiven(chat string, raw []byte) error {
	var have map[string]bool
	if err := json.Unmarshal(raw, &have); err != nil {
		return err
	}
	s.senders.given[chat] = have
	return nil
}

// What libsignal calls.

func (s *signalStore) StoreSenderKey(_ context.Context, name *protocol.SenderKeyName, rec *grouprecord.SenderKey) error {
	path, raw := senderKeyPath(name), rec.Serialize()
	s.senders.records[path] = raw
	s.tx.put(s.senderKey(path), raw)
	return nil
}

func (s *signalStore) LoadSenderKey(_ context.Context, name *protocol.SenderKeyName) (*grouprecord.SenderKey, error) {
	raw := s.senders.records[senderKeyPath(name)]
	if raw == nil {
		return grouprecord.NewSenderKey(s.serializer.SenderKeyRecord, s.serializer.SenderKeyState), nil
	}
	return grouprecord.NewSenderKeyFromBytes(raw, s.serializer.SenderKeyRecord, s.serializer.SenderKeyState)
}
