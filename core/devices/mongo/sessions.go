package mongo

import (
	"bytes"
	"context"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// GetSession implements store.SessionStore.
func (s *Stores) GetSession(ctx context.Context, address string) ([]byte, error) {
	rec, err := s.get(ctx, s.sessionID(address))
	return value(rec), err
}

// HasSession implements store.SessionStore.
func (s *Stores) HasSession(ctx context.Context, address string) (bool, error) {
	rec, err := s.get(ctx, s.sessionID(address))
	return rec != nil, err
}

// GetManySessions implements store.SessionStore.
func (s *Stores) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	if len(addresses) == 0 {
		return nil, nil
	}
	ids := make([]string, len(addresses))
	for i, a := range addresses {
		ids[i] = s.sessionID(a)
	}
	found, err := s.getMany(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(addresses))
	for i, a := range addresses {
		out[a] = value(found[ids[i]])
	}
	return out, nil
}

func (s *Stores) session(address string, session []byte) op {
	return op{rec: record{ID: s.sessionID(address), Value: bytes.Clone(session)}, rank: middle}
}

// PutSession implements store.SessionStore.
func (s *Stores) PutSession(ctx context.Context, address string, session []byte) error {
	return s.write(ctx, s.session(address, session))
}

// PutManySessions implements store.SessionStore, in one command.
func (s *Stores) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	return s.PutSent(ctx, sessions, nil, nil)
}

// DeleteSession implements store.SessionStore.
func (s *Stores) DeleteSession(ctx context.Context, address string) error {
	return s.write(ctx, op{rec: record{ID: s.sessionID(address)}, how: gone, rank: middle})
}

// DeleteAllSessions implements store.SessionStore: those of all devices of a user.
func (s *Stores) DeleteAllSessions(ctx context.Context, user string) error {
	return s.removeAll(ctx, s.peer(user), ':', func(id string) bool { return strings.HasSuffix(id, "/session") })
}

// peer is how the ids of what belongs to a user's devices begin.
func (s *Stores) peer(user string) string { return path(s.jid, "peer", user) }

// maxMigrated bounds how many users are remembered to have been migrated.
const maxMigrated = 1 << 14

// MigratePNToLID implements store.SessionStore. What is to be moved is first written
// under its new address, then deleted under the old one. If a crash came in between, the
// next time finds both, and the later of them is the one in use.
func (s *Stores) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	from, to := pn.SignalAddressUser(), lid.SignalAddressUser()
	s.mu.Lock()
	done := s.migrated[from]
	s.mu.Unlock()
	if done || from == to {
		return nil
	}
	if err := s.migrate(ctx, s.peer(from), s.peer(to)); err != nil {
		return err
	}
	if s.unitOf(ctx) != nil {
		return nil // it may still be given up
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.migrated) >= maxMigrated {
		s.migrated = map[string]bool{}
	}
	s.migrated[from] = true
	return nil
}

func (s *Stores) migrate(ctx context.Context, from, to string) error {
	if err := s.changing.take(ctx); err != nil {
		return err
	}
	defer s.changing.give()
	old, err := s.scan(ctx, from, ':')
	if err != nil || len(old) == 0 {
		return err
	}
	ids := make([]string, len(old))
	for i, r := range old {
		ids[i] = to + strings.TrimPrefix(r.ID, from)
	}
	there, err := s.getMany(ctx, ids)
	if err != nil {
		return err
	}
	var moved, removed []op
	for i, r := range old {
		if t := there[ids[i]]; t == nil || t.Stamp < r.Stamp {
			moved = append(moved, op{rec: record{ID: ids[i], Value: r.Value}, rank: middle})
		}
		removed = append(removed, op{rec: record{ID: r.ID}, how: gone, rank: middle})
	}
	return s.write(ctx, append(moved, removed...)...)
}
