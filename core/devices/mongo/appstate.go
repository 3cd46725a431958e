package mongo

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/store"
)

// state is a version of an app state whose mutations are not all known yet. whatsmeow
// puts the version, removes MACs and then puts MACs, in three calls (appstate/decode.go):
// the first two are kept here until the third, and then written together, the version
// last. MACs of a version that was not stored are not seen, so that a crash before that
// leaves the former state whole.
type state struct {
	version uint64
	hash    [128]byte
	macs    map[string]op // by index
}

// PutAppStateVersion implements store.AppStateStore: it takes effect for the next reader
// at once, and is stored with the MACs.
func (s *Stores) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	if err := s.flushState(ctx, name); err != nil { // of a version before, for which no MACs came
		return err
	}
	if rec, err := s.get(ctx, s.stateID(name)); err != nil {
		return err
	} else if rec == nil { // a crash may have cut the removal of the former state off
		if err := s.removeMACs(ctx, name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[name] = &state{version: version, hash: hash, macs: map[string]op{}}
	return nil
}

// flushState stores what is pending for a name.
func (s *Stores) flushState(ctx context.Context, name string) error {
	s.mu.Lock()
	p := s.states[name]
	if p == nil {
		s.mu.Unlock()
		return nil
	}
	var ops []op
	for _, o := range p.macs {
		ops = append(ops, o)
	}
	s.mu.Unlock()
	ops = append(ops, op{rec: record{ID: s.stateID(name), Number: int64(p.version), Value: p.hash[:]}, rank: last}) //nolint:gosec // versions are small
	err := s.write(ctx, ops...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[name] == p {
		delete(s.states, name)
	}
	return err
}

// GetAppStateVersion implements store.AppStateStore.
func (s *Stores) GetAppStateVersion(ctx context.Context, name string) (version uint64, hash [128]byte, err error) {
	s.mu.Lock()
	if p := s.states[name]; p != nil {
		defer s.mu.Unlock()
		return p.version, p.hash, nil
	}
	s.mu.Unlock()
	rec, err := s.get(ctx, s.stateID(name))
	if err != nil || rec == nil {
		return 0, hash, err
	}
	if len(rec.Value) != len(hash) {
		return 0, hash, errLength
	}
	return uint64(rec.Number), [128]byte(rec.Value), nil //nolint:gosec // it was unsigned
}

// DeleteAppStateVersion implements store.AppStateStore; the MACs go with it.
func (s *Stores) DeleteAppStateVersion(ctx context.Context, name string) error {
	s.mu.Lock()
	delete(s.states, name)
	s.mu.Unlock()
	if err := s.write(ctx, op{rec: record{ID: s.stateID(name)}, how: gone, rank: middle}); err != nil {
		return err
	}
	return s.removeMACs(ctx, name)
}

func (s *Stores) removeMACs(ctx context.Context, name string) error {
	return s.removeAll(ctx, path(s.jid, "mac", name), '/', func(string) bool { return true })
}

// PutAppStateMutationMACs implements store.AppStateStore.
func (s *Stores) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	ops := make(map[string]op, len(mutations))
	for _, m := range mutations {
		id := s.macID(name, m.IndexMAC, version)
		ops[id] = op{rec: record{ID: id, Value: bytes.Clone(m.ValueMAC)}, rank: middle}
	}
	s.mu.Lock()
	p := s.states[name]
	if p != nil && p.version == version {
		for id, o := range ops {
			p.macs[id] = o
		}
		s.mu.Unlock()
		return s.flushState(ctx, name)
	}
	s.mu.Unlock()
	var all []op
	for _, o := range ops {
		all = append(all, o)
	}
	return s.write(ctx, all...)
}

// DeleteAppStateMutationMACs implements store.AppStateStore: from the present version on
// there are none of these.
func (s *Stores) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	if len(indexMACs) == 0 {
		return nil
	}
	version, _, err := s.GetAppStateVersion(ctx, name)
	if err != nil {
		return err
	}
	ops := make([]op, len(indexMACs))
	for i, index := range indexMACs {
		ops[i] = op{rec: record{ID: s.macID(name, index, version)}, rank: middle} // null
	}
	s.mu.Lock()
	if p := s.states[name]; p != nil && p.version == version {
		for _, o := range ops {
			p.macs[o.rec.ID] = o
		}
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return s.write(ctx, ops...)
}

// GetAppStateMutationMAC implements store.AppStateStore: the latest, or nil.
func (s *Stores) GetAppStateMutationMAC(ctx context.Context, name string, indexMAC []byte) ([]byte, error) {
	version, _, err := s.GetAppStateVersion(ctx, name)
	if err != nil {
		return nil, err
	}
	id := s.macID(name, indexMAC, version)
	s.mu.Lock()
	if p := s.states[name]; p != nil {
		if o, ok := p.macs[id]; ok {
			defer s.mu.Unlock()
			return bytes.Clone(o.rec.Value), nil
		}
	}
	s.mu.Unlock()
	found, err := find[record](ctx, s.coll, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gte", Value: s.macsOf(name, indexMAC) + "/"}, {Key: "$lte", Value: id}}},
		{Key: "gone", Value: nil},
	}, options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(1))
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0].Value, nil
}

// PutAppStateSyncKey implements store.AppStateSyncKeyStore. An older key does not
// replace a newer one.
func (s *Stores) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	if err := s.changing.take(ctx); err != nil {
		return err
	}
	defer s.changing.give()
	rec, err := s.get(ctx, s.syncID(id))
	if err != nil || rec != nil && rec.Number >= key.Timestamp {
		return err
	}
	return s.write(ctx, op{rec: record{
		ID: s.syncID(id), Value: bytes.Clone(key.Data), Print: bytes.Clone(key.Fingerprint), Number: key.Timestamp,
	}, rank: middle})
}

func (s *Stores) syncID(id []byte) string { return path(s.jid, "sync", hex.EncodeToString(id)) }

// GetAppStateSyncKey implements store.AppStateSyncKeyStore.
func (s *Stores) GetAppStateSyncKey(ctx context.Context, id []byte) (*store.AppStateSyncKey, error) {
	rec, err := s.get(ctx, s.syncID(id))
	if err != nil || rec == nil {
		return nil, err
	}
	return &store.AppStateSyncKey{Data: rec.Value, Fingerprint: rec.Print, Timestamp: rec.Number}, nil
}

// GetLatestAppStateSyncKeyID implements store.AppStateSyncKeyStore. There are a few.
func (s *Stores) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	found, err := s.scan(ctx, path(s.jid, "sync"), '/')
	if err != nil || len(found) == 0 {
		return nil, err
	}
	latest := &found[0]
	for i := range found {
		if found[i].Number > latest.Number {
			latest = &found[i]
		}
	}
	return hex.DecodeString(strings.TrimPrefix(latest.ID, path(s.jid, "sync")+"/"))
}
