package devices

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// The most that known remembers of each kind. Beyond it the file is asked, as whatsmeow does.
const (
	knownIdentities = 4096
	knownHashes     = 32768
)

// known spares the file of one hub what it is asked for with every message: whether the
// message was decrypted before, and whether its sender's identity is the one that is stored,
// which whatsmeow then stores once more. Nobody else writes to the file, so that what was
// read or written once stays true. Sessions are not remembered: they change with every message.
type known struct {
	store.AllSessionSpecificStores
	db  *dbutil.Database
	jid string

	mu sync.Mutex
	// identities are stored. A transaction that is rolled back empties it.
	identities map[string][32]byte
	// hashes holds the beginning of each hash in the event buffer, and may hold more: an
	// absent one is not in the buffer. It is nil when there were too many.
	hashes map[uint64]struct{}
	loaded bool
}

func newKnown(inner store.AllSessionSpecificStores, db *dbutil.Database, jid types.JID) *known {
	return &known{
		AllSessionSpecificStores: inner, db: db, jid: jid.String(),
		identities: map[string][32]byte{}, hashes: map[uint64]struct{}{},
	}
}

// PutIdentity implements store.IdentityStore.
func (k *known) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	if k.stored(address, key) {
		return nil
	}
	if err := k.AllSessionSpecificStores.PutIdentity(ctx, address, key); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.identities) >= knownIdentities {
		clear(k.identities)
	}
	k.identities[address] = key
	return nil
}

// IsTrustedIdentity implements store.IdentityStore.
func (k *known) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	if k.stored(address, key) {
		return true, nil
	}
	return k.AllSessionSpecificStores.IsTrustedIdentity(ctx, address, key)
}

func (k *known) stored(address string, key [32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	have, ok := k.identities[address]
	return ok && have == key
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.identities)
}

// DeleteIdentity implements store.IdentityStore.
func (k *known) DeleteIdentity(ctx context.Context, address string) error {
	defer k.forget()
	return k.AllSessionSpecificStores.DeleteIdentity(ctx, address)
}

// DeleteAllIdentities implements store.IdentityStore.
func (k *known) DeleteAllIdentities(ctx context.Context, phone string) error {
	defer k.forget()
	return k.AllSessionSpecificStores.DeleteAllIdentities(ctx, phone)
}

// MigratePNToLID implements store.SessionStore. It moves identities, too.
func (k *known) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	defer k.forget()
	return k.AllSessionSpecificStores.MigratePNToLID(ctx, pn, lid)
}

// DoDecryptionTxn implements store.EventBuffer.
func (k *known) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	err := k.AllSessionSpecificStores.DoDecryptionTxn(ctx, fn)
	if err != nil {
		k.forget()
	}
	return err
}

// GetBufferedEvent implements store.EventBuffer.
func (k *known) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	there, err := k.maybeBuffered(ctx, hash)
	if err != nil || !there {
		return nil, err
	}
	return k.AllSessionSpecificStores.GetBufferedEvent(ctx, hash)
}

// PutBufferedEvent implements store.EventBuffer. What is rolled back stays remembered, which
// costs a question.
func (k *known) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, at time.Time) error {
	k.mu.Lock()
	k.add(beginning(hash[:]))
	k.mu.Unlock()
	return k.AllSessionSpecificStores.PutBufferedEvent(ctx, hash, plaintext, at)
}

// maybeBuffered is false only if the buffer does not hold hash.
func (k *known) maybeBuffered(ctx context.Context, hash [32]byte) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.loaded {
		if err := k.load(ctx); err != nil {
			return false, err
		}
	}
	if k.hashes == nil {
		return true, nil
	}
	_, there := k.hashes[beginning(hash[:])]
	return there, nil
}

// load reads the hashes that earlier processes left in the buffer.
func (k *known) load(ctx context.Context) error {
	found, err := k.db.Query(ctx, "SELECT ciphertext_hash FROM whatsmeow_event_buffer WHERE our_jid=$1 LIMIT $2", k.jid, knownHashes+1)
	err = dbutil.NewRowIterWithError(found, dbutil.ScanSingleColumn[[]byte], err).Iter(func(hash []byte) (bool, error) {
		k.add(beginning(hash))
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("list buffered events: %w", err)
	}
	k.loaded = true
	return nil
}

// add needs k.mu.
func (k *known) add(hash uint64) {
	if k.hashes == nil {
		return
	}
	k.hashes[hash] = struct{}{}
	if len(k.hashes) > knownHashes {
		k.hashes = nil
	}
}

// beginning shortens a hash; the file takes none of another length than 32.
func beginning(hash []byte) uint64 { return binary.BigEndian.Uint64(hash) }
