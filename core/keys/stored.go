package keys

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// Where the keys are in the database's map. What connectors and rules keep there has other
// namespaces.
const (
	namespace = "hub/keys"
	listKey   = "keys"
	usedKey   = "used"
)

// entry is a key as it is stored.
type entry struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Scope     Scope      `json:"scope"`
	Accounts  []string   `json:"accounts,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	SHA256    string     `json:"sha256"`
}

// stored is the entry that holds all keys.
type stored struct {
	Keys []entry `json:"keys"`
}

// read returns the keys, and the bytes that a change has to find again. One entry that cannot
// be read fails all: left out, a limit of it would go, or the API would open.
func read(ctx context.Context, s store.KV) ([]Key, []byte, error) {
	raw, err := s.GetKV(ctx, namespace, listKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read API keys: %w", err)
	}
	var all stored
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a newer version's limit must not go by unseen
	if err := d.Decode(&all); err != nil {
		return nil, nil, fmt.Errorf("read API keys: %w", err)
	}
	list := make([]Key, len(all.Keys))
	for i, e := range all.Keys {
		if list[i], err = e.key(); err != nil {
			return nil, nil, fmt.Errorf("read API key %s: %w", e.ID, err)
		}
	}
	return list, raw, nil
}

func (e entry) key() (Key, error) {
	k := Key{ID: e.ID, Name: e.Name, Scope: e.Scope, Accounts: e.Accounts, CreatedAt: e.CreatedAt}
	if e.ExpiresAt != nil {
		k.ExpiresAt = *e.ExpiresAt
	}
	hash, err := hex.DecodeString(e.SHA256)
	if err != nil || len(hash) != sha256.Size {
		return k, errors.New("its hash is malformed")
	}
	if !slices.Contains(Scopes(), k.Scope) {
		return k, fmt.Errorf("scope %q is not known to this version", k.Scope)
	}
	copy(k.hash[:], hash)
	return k, nil
}

// write replaces what read returned; store.ErrStale if it is no longer there. An empty list
// leaves no entry.
func write(ctx context.Context, s store.KV, old []byte, list []Key) error {
	var raw []byte
	if len(list) > 0 {
		all := stored{Keys: make([]entry, len(list))}
		for i, k := range list {
			all.Keys[i] = entry{ID: k.ID, Name: k.Name, Scope: k.Scope, Accounts: k.Accounts, CreatedAt: k.CreatedAt, SHA256: hex.EncodeToString(k.hash[:])}
			if !k.ExpiresAt.IsZero() {
				all.Keys[i].ExpiresAt = &k.ExpiresAt
			}
		}
		var err error
		if raw, err = json.Marshal(all); err != nil {
			return fmt.Errorf("write API keys: %w", err)
		}
	}
	if err := s.SwapKV(ctx, namespace, listKey, old, raw); err != nil {
		return fmt.Errorf("write API keys: %w", err)
	}
	return nil
}
