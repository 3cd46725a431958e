package mongo

import (
	"bytes"
	"context"
	"errors"
	"strings"
)

// errLength is a key of the wrong length.
var errLength = errors.New("a key has the wrong length")

// PutIdentity implements store.IdentityStore. whatsmeow calls it for each message: what
// is known already is not written again.
func (s *Stores) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	id := s.identityID(address)
	rec, err := s.get(ctx, id)
	if err != nil || rec != nil && bytes.Equal(rec.Value, key[:]) {
		return err
	}
	return s.write(ctx, op{rec: record{ID: id, Value: key[:]}, rank: middle})
}

// IsTrustedIdentity implements store.IdentityStore. An unknown one is trusted.
func (s *Stores) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	rec, err := s.get(ctx, s.identityID(address))
	switch {
	case err != nil:
		return false, err
	case rec == nil:
		return true, nil
	case len(rec.Value) != len(key):
		return false, errLength
	}
	return [32]byte(rec.Value) == key, nil
}

// DeleteIdentity implements store.IdentityStore.
func (s *Stores) DeleteIdentity(ctx context.Context, address string) error {
	return s.write(ctx, op{rec: record{ID: s.identityID(address)}, how: gone, rank: middle})
}

// DeleteAllIdentities implements store.IdentityStore: those of all devices of a user.
func (s *Stores) DeleteAllIdentities(ctx context.Context, user string) error {
	return s.removeAll(ctx, s.peer(user), ':', func(id string) bool { return strings.HasSuffix(id, "/identity") })
}

// PutSenderKey implements store.SenderKeyStore.
func (s *Stores) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	return s.write(ctx, s.senderKey(group, user, session))
}

func (s *Stores) senderKey(group, user string, session []byte) op {
	return op{rec: record{ID: s.groupID(group, user), Value: bytes.Clone(session)}, rank: middle}
}

// GetSenderKey implements store.SenderKeyStore.
func (s *Stores) GetSenderKey(ctx context.Context, group, user string) ([]byte, error) {
	rec, err := s.get(ctx, s.groupID(group, user))
	return value(rec), err
}
