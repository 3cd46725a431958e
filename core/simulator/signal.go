package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"go.mau.fi/libsignal/ecc"
	identitykey "go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/serialize"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/state/record"
	"go.mau.fi/libsignal/state/store"
	"go.mau.fi/libsignal/util/optional"

	"go.mau.fi/whatsmeow/util/keys"
)

var errUnsupported = errors.New("not part of a simulated phone")

// signalStore is a phone's half of the Signal protocol. The phone's lock guards it.
// What changes goes into tx, so that it becomes durable with the message that changed it.
type signalStore struct {
	number       string
	identity     *keys.KeyPair
	registration uint32
	signed       signedRecord
	oneTime      map[uint32]*keys.KeyPair
	lastKey      uint32
	sessions     map[string]*record.Session
	serializer   *serialize.Serializer
	senders      senderKeys
	tx           *batch
	fresh        bool // decrypting: a failed attempt leaves its record half changed, so work on a copy
}

var _ store.SignalProtocol = (*signalStore)(nil)

func newSignalStore(rec accountRecord) *signalStore {
	return &signalStore{
		number: rec.Number, identity: pairOf(rec.Identity), registration: rec.Registration, signed: rec.Signed,
		oneTime: map[uint32]*keys.KeyPair{}, sessions: map[string]*record.Session{}, serializer: serialize.NewProtoBufSerializer(),
		senders: newSenderKeys(),
	}
}

// load takes a session from the journal.
func (s *signalStore) load(address string, raw []byte) error {
	rec, err := record.NewSessionFromBytes(raw, s.serializer.Session, s.serializer.State)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	s.sessions[address] = rec
	return nil
}

// encrypt encrypts for a device. Without a session it opens one with the bundle that
// fetch returns; renew opens one in any case.
func (s *signalStore) encrypt(to *Device, plain []byte, renew bool, fetch func() (*bundle, error)) (ciphertext []byte, kind string, err error) {
	ctx, address := context.Background(), addressOf(to)
	builder := session.NewBuilderFromSignal(s, address, s.serializer)
	if renew || s.sessions[address.String()] == nil {
		keys, err := fetch()
		if err != nil {
			return nil, "", fmt.Errorf("fetch prekeys of %s: %w", to.JID(), err)
		}
		if err = builder.ProcessBundle(ctx, keys.signal(to.id)); err != nil {
			return nil, "", fmt.Errorf("open session with %s: %w", to.JID(), err)
		}
	}
	out, err := session.NewCipher(builder, address).Encrypt(ctx, pad(plain))
	if err != nil {
		return nil, "", fmt.Errorf("encrypt for %s: %w", to.JID(), err)
	}
	kind = "msg"
	if out.Type() == protocol.PREKEY_TYPE {
		kind = "pkmsg"
	}
	return out.Serialize(), kind, nil
}

// decrypt decrypts what came from a device.
func (s *signalStore) decrypt(from *Device, kind string, ciphertext []byte) (plain []byte, err error) {
	defer recoverMalformed(&err)
	s.fresh = true
	defer func() { s.fresh = false }()
	ctx, address := context.Background(), addressOf(from)
	builder := session.NewBuilderFromSignal(s, address, s.serializer)
	cipher := session.NewCipher(builder, address)
	switch kind {
	case "pkmsg":
		m, err := protocol.NewPreKeySignalMessageFromBytes(ciphertext, s.serializer.PreKeySignalMessage, s.serializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plain, err = cipher.DecryptMessage(ctx, m); err != nil {
			return nil, err
		}
	case "msg":
		m, err := protocol.NewSignalMessageFromBytes(ciphertext, s.serializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plain, err = cipher.Decrypt(ctx, m); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("ciphertext of type %q", kind)
	}
	return unpad(plain)
}

// newOneTimeKey makes a prekey for a bundle of the phone's own.
func (s *signalStore) newOneTimeKey() (uint32, *keys.KeyPair) {
	s.lastKey++
	pair := keys.NewKeyPair()
	s.oneTime[s.lastKey] = pair
	s.tx.put("n/"+s.number, binary.BigEndian.AppendUint32(nil, s.lastKey))
	s.tx.put(s.preKeyKey(s.lastKey), pair.Priv[:])
	return s.lastKey, pair
}

func (s *signalStore) preKeyKey(id uint32) string {
	return "p/" + s.number + "/" + strconv.FormatUint(uint64(id), 10)
}

func (s *signalStore) sessionKey(address string) string { return "s/" + s.number + "/" + address }

// forget drops all sessions, as a phone that was restored from an old backup has.
func (s *signalStore) forget() {
	for address := range s.sessions {
		s.tx.del(s.sessionKey(address))
	}
	clear(s.sessions)
	s.forgetSenders()
}

// addressOf is how a phone files its session with a device: always by LID, so that a
// change of addressing finds the same session.
func addressOf(d *Device) *protocol.SignalAddress { return d.LID().SignalAddress() }

func (b *bundle) signal(device uint16) *prekey.Bundle {
	id, one := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if b.hasOneTime {
		id, one = optional.NewOptionalUint32(b.oneTimeID), ecc.NewDjbECPublicKey(b.oneTime)
	}
	return prekey.NewBundle(b.registration, uint32(device), id, b.signedID, one,
		ecc.NewDjbECPublicKey(b.signed), b.signature, identitykey.NewKey(ecc.NewDjbECPublicKey(b.identity)))
}

func ecPair(p *keys.KeyPair) *ecc.ECKeyPair {
	return ecc.NewECKeyPair(ecc.NewDjbECPublicKey(*p.Pub), ecc.NewDjbECPrivateKey(*p.Priv))
}

// pad appends one to fifteen bytes that each say how many they are.
func pad(plain []byte) []byte {
	n := byte(randomUint32()&0xf | 1)
	out := append(make([]byte, 0, len(plain)+int(n)), plain...)
	for range n {
		out = append(out, n)
	}
	return out
}

func unpad(plain []byte) ([]byte, error) {
	if len(plain) == 0 || int(plain[len(plain)-1]) > len(plain) {
		return nil, errors.New("malformed padding")
	}
	return plain[:len(plain)-int(plain[len(plain)-1])], nil
}

// What libsignal calls.

func (s *signalStore) GetIdentityKeyPair() *identitykey.KeyPair {
	return identitykey.NewKeyPair(identitykey.NewKey(ecc.NewDjbECPublicKey(*s.identity.Pub)), ecc.NewDjbECPrivateKey(*s.identity.Priv))
}

func (s *signalStore) GetLocalRegistrationID() uint32 { return s.registration }

// A phone trusts every identity: a client that was paired anew is not an attack here.

func (s *signalStore) SaveIdentity(context.Context, *protocol.SignalAddress, *identitykey.Key) error {
	return nil
}

func (s *signalStore) IsTrustedIdentity(context.Context, *protocol.SignalAddress, *identitykey.Key) (bool, error) {
	return true, nil
}

func (s *signalStore) LoadPreKey(_ context.Context, id uint32) (*record.PreKey, error) {
	if pair := s.oneTime[id]; pair != nil {
		return record.NewPreKey(id, ecPair(pair), nil), nil
	}
	return nil, nil
}

func (s *signalStore) RemovePreKey(_ context.Context, id uint32) error {
	delete(s.oneTime, id)
	s.tx.del(s.preKeyKey(id))
	return nil
}

func (s *signalStore) LoadSignedPreKey(_ context.Context, id uint32) (*record.SignedPreKey, error) {
	if id != s.signed.ID {
		return nil, nil
	}
	return record.NewSignedPreKey(id, 0, ecPair(pairOf(s.signed.Priv)), [64]byte(s.signed.Signature), nil), nil
}

func (s *signalStore) LoadSession(_ context.Context, address *protocol.SignalAddress) (*record.Session, error) {
	rec := s.sessions[address.String()]
	if rec == nil {
		return record.NewSession(s.serializer.Session, s.serializer.State), nil
	}
	if s.fresh {
		return record.NewSessionFromBytes(rec.Serialize(), s.serializer.Session, s.serializer.State)
	}
	return rec, nil
}

func (s *signalStore) StoreSession(_ context.Context, address *protocol.SignalAddress, rec *record.Session) error {
	s.sessions[address.String()] = rec
	if !s.tx.off() {
		s.tx.put(s.sessionKey(address.String()), rec.Serialize())
	}
	return nil
}

func (s *signalStore) ContainsSession(_ context.Context, address *protocol.SignalAddress) (bool, error) {
	return s.sessions[address.String()] != nil, nil
}

// What libsignal declares and does not call for one-to-one messages.

func (s *signalStore) StorePreKey(context.Context, uint32, *record.PreKey) error {
	return errUnsupported
}

func (s *signalStore) ContainsPreKey(_ context.Context, id uint32) (bool, error) {
	return s.oneTime[id] != nil, nil
}

func (s *signalStore) GetSubDeviceSessions(context.Context, string) ([]uint32, error) {
	return nil, errUnsupported
}

func (s *signalStore) DeleteSession(context.Context, *protocol.SignalAddress) error {
	return errUnsupported
}

func (s *signalStore) DeleteAllSessions(context.Context) error { return errUnsupported }

func (s *signalStore) LoadSignedPreKeys(context.Context) ([]*record.SignedPreKey, error) {
	return nil, errUnsupported
}

func (s *signalStore) StoreSignedPreKey(context.Context, uint32, *record.SignedPreKey) error {
	return errUnsupported
}

func (s *signalStore) ContainsSignedPreKey(_ context.Context, id uint32) (bool, error) {
	return id == s.signed.ID, nil
}

func (s *signalStore) RemoveSignedPreKey(context.Context, uint32) error { return errUnsupported }
