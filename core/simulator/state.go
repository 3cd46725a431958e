package simulator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/util/keys"
)

// The journal's keys:
//
//	server                          the server's keys
//	a/NUMBER                        an account and its phone's keys
//	ak/NUMBER/ID                    a key of the app state
//	as/NUMBER/COLLECTION/VERSION    a patch of the app state
//	c/NUMBER/NUMBER                 the first has met the second
//	d/NUMBER/DEVICE                 a companion
//	e/NUMBER/CHAT                   after how many seconds what a phone sends to a chat disappears
//	g/ID                            a group
//	k/NUMBER/DEVICE/KEY             a companion's one-time prekey: 32 bytes, and 1 once issued
//	m/NUMBER/N                      what a phone received
//	media/ID                        a link of the media host
//	n/NUMBER                        the newest id of the phone's one-time prekeys
//	nl/ID                           a newsletter
//	nm/ID/N                         a message of a newsletter
//	o/NUMBER/ID                     what a phone sent, for retries
//	p/NUMBER/KEY                    a phone's one-time prekey, private
//	pf/NUMBER                       an account's profile and privacy
//	pi/ID, pj/ID                    a profile picture, its preview
//	q/NUMBER/DEVICE/SEQ             a stanza that waits for a device
//	s/NUMBER/ADDRESS                a phone's Signal session
//	sg/NUMBER/CHAT                  who has a phone's own sender key
//	sk/NUMBER/CHAT/ADDRESS          a sender key that a phone has
//	v/NUMBER/ID/DEVICE              when a device confirmed what a phone sent; "read" for when it was read
//	w/NUMBER/DEVICE                 the phone has welcomed a companion
//	y/NUMBER                        what a phone answers by itself

type serverRecord struct {
	Root, Intermediate, Static []byte
	NotBefore                  uint64
}

type signedRecord struct {
	ID                   uint32
	Priv, Pub, Signature []byte `json:",omitempty"`
}

type accountRecord struct {
	Number, LID, Name string
	Identity          []byte
	Registration, Raw uint32
	Signed            signedRecord
	LastDevice        uint16
	Created           int64
}

type deviceRecord struct {
	ID              uint16
	Noise, Identity []byte
	Registration    uint32
	Signed          signedRecord
	KeyIndex        uint32
	Platform        string
	Paired          int64
	Proposed        bool `json:",omitempty"` // it has not signed; see link.go
}

func (b *batch) putJSON(key string, value any) {
	if b.off() {
		return
	}
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("record %T: %v", value, err)) // our own types: a programmer's mistake
	}
	b.put(key, raw)
}

// load reads the state that the journal held, or makes a new one.
func (s *Server) load(values map[string][]byte) error {
	rec := serverRecord{NotBefore: uint64(s.now() - 86400)}
	fresh := values["server"] == nil
	if fresh {
		root := keys.NewKeyPair()
		if s.opts.Root != nil {
			root = keys.NewKeyPairFromPrivateKey(*s.opts.Root)
		}
		rec.Root, rec.Intermediate, rec.Static = root.Priv[:], keys.NewKeyPair().Priv[:], keys.NewKeyPair().Priv[:]
	} else if err := json.Unmarshal(values["server"], &rec); err != nil {
		return fmt.Errorf("server keys: %w", err)
	}
	var err error
	if s.id, err = newIdentity(pairOf(rec.Root), pairOf(rec.Intermediate), pairOf(rec.Static), rec.NotBefore); err != nil {
		return err
	}
	if fresh {
		b := s.begin()
		b.putJSON("server", rec)
		return s.journal.commit(b)
	}
	for _, step := range []struct {
		prefix string
		load   func(parts []string, value []byte) error
	}{
		{"a/", s.loadAccount},
		{"c/", s.loadContact},
		{"d/", s.loadDevice},
		{"w/", s.loadWelcome},
		{"k/", s.loadPreKey},
		{"pf/", s.loadProfile},
		{"pi/", s.loadPicture},
		{"pj/", s.loadPicture},
		{"ak/", s.loadStateKey},
		{"as/", s.loadPatch},
		{"n/", s.loadPhone},
		{"p/", s.loadPhone},
		{"s/", s.loadPhone},
		{"o/", s.loadPhone},
		{"m/", s.loadPhone},
		{"e/", s.loadPhone},
		{"y/", s.loadPhone},
		{"v/", s.loadPhone},
		{"sg/", s.loadPhone},
		{"sk/", s.loadPhone},
		{"g/", s.loadGroup},
		{"nl/", s.loadNewsletter},
		{"nm/", s.loadNewsletterMessage},
		{"q/", s.loadEntry},
		{"media/", s.loadMedia},
	} {
		for _, key := range keysUnder(values, step.prefix) {
			parts := strings.Split(key, "/")
			if err := step.load(parts, values[key]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	for _, a := range s.byNumber {
		a.phone.loaded()
	}
	return nil
}

func (s *Server) loadAccount(_ []string, value []byte) error {
	var rec accountRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return err
	}
	a := newAccount(s, rec)
	s.byNumber[a.number], s.byLID[a.lid] = a, a
	return nil
}

func (s *Server) loadContact(parts []string, _ []byte) error {
	if a := s.byNumber[parts[1]]; a != nil {
		a.contacts[parts[2]] = true
	}
	return nil
}

func (s *Server) loadDevice(parts []string, value []byte) error {
	var rec deviceRecord
	if err := json.Unmarshal(value, &rec); err != nil {
		return err
	}
	a := s.byNumber[parts[1]]
	if a == nil {
		return ErrUnknownNumber
	}
	into := a.devices
	if rec.Proposed {
		into = a.proposed
	}
	rec.Proposed = false
	into[rec.ID] = newCompanion(a, rec)
	return nil
}

func (s *Server) loadPreKey(parts []string, value []byte) error {
	d, err := s.ownerOf(parts)
	if err != nil || d == nil {
		return err
	}
	id, err := strconv.ParseUint(parts[3], 10, 32)
	if err != nil || len(value) != 33 {
		return fmt.Errorf("prekey of %d bytes: %w", len(value), err)
	}
	d.prekeys.load(uint32(id), [32]byte(value[:32]), value[32] == 1)
	if value[32] == 1 {
		s.issued.note([32]byte(value[:32]))
	}
	return nil
}

func (s *Server) loadPhone(parts []string, value []byte) error {
	a := s.byNumber[parts[1]]
	if a == nil {
		return ErrUnknownNumber
	}
	p := a.phone
	switch parts[0] {
	case "n":
		p.store.lastKey = binary.BigEndian.Uint32(value)
	case "p":
		id, err := strconv.ParseUint(parts[2], 10, 32)
		if err != nil {
			return err
		}
		p.store.oneTime[uint32(id)] = pairOf(value)
	case "s":
		return p.store.load(parts[2], value)
	case "o":
		return p.loadSent(parts[2], value)
	case "m":
		return p.loadReceived(value)
	case "v":
		return p.loadDelivery(parts[2], parts[len(parts)-1], value)
	case "e":
		p.loadTimer(parts[2], value)
	case "y":
		return p.loadReplies(value)
	case "sg":
		return p.store.loadGiven(parts[2], value)
	case "sk":
		p.store.loadSenderKey(parts[2]+"/"+parts[3], value)
	}
	return nil
}

func (s *Server) loadEntry(parts []string, value []byte) error {
	d, err := s.ownerOf(parts)
	if err != nil || d == nil {
		return err
	}
	seq, err := strconv.ParseUint(parts[3], 16, 64)
	if err != nil {
		return err
	}
	node, err := waBinary.Unmarshal(bytes.TrimPrefix(value, []byte{0}))
	if err != nil {
		return fmt.Errorf("parse stanza: %w", err)
	}
	d.insert(newEntry(seq, *node))
	d.lastSeq.Store(seq)
	return nil
}

// ownerOf finds the device that a key names; nil when it was removed.
func (s *Server) ownerOf(parts []string) (*Device, error) {
	a := s.byNumber[parts[1]]
	if a == nil {
		return nil, ErrUnknownNumber
	}
	id, err := strconv.ParseUint(parts[2], 10, 16)
	if err != nil {
		return nil, err
	}
	return a.devices[uint16(id)], nil
}

func pairOf(priv []byte) *keys.KeyPair {
	var k [32]byte
	copy(k[:], priv)
	return keys.NewKeyPairFromPrivateKey(k)
}
