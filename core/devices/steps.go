package devices

import (
	"bytes"
	"context"
	"slices"

	"go.mau.fi/libsignal/state/record"

	"go.mau.fi/whatsmeow/store"
)

// A message to a group takes a step of our own sender key and one of the session with each
// device that it is for. Where the store can, the first is written with the others: both must
// be durable before the message leaves, and neither before.

// steps are the sender keys that sends which are under way have not written yet, by group
// and user. Who asks for such a key gets it from here.
type steps map[[2]string][]byte

// PutSenderKey implements store.SenderKeyStore.
func (g *guard) PutSenderKey(ctx context.Context, group, user string, key []byte) error {
	return g.d.call(ctx, "PutSenderKey", func() error {
		send := sendOf(ctx)
		if _, ok := g.inner.(sentWriter); !ok || send == nil || ctx.Err() != nil {
			return g.inner.PutSenderKey(ctx, group, user, key)
		}
		name := [2]string{group, user}
		send.came(func(s *Send) { s.steps = append(s.steps, name) })
		g.d.mu.Lock()
		defer g.d.mu.Unlock()
		if g.d.steps == nil {
			g.d.steps = steps{}
		}
		g.d.steps[name] = slices.Clone(key)
		return nil
	})
}

// GetSenderKey implements store.SenderKeyStore.
func (g *guard) GetSenderKey(ctx context.Context, group, user string) ([]byte, error) {
	return one(ctx, g.d, "GetSenderKey", func() ([]byte, error) {
		g.d.mu.Lock()
		key, waits := g.d.steps[[2]string{group, user}]
		g.d.mu.Unlock()
		if waits {
			return slices.Clone(key), nil
		}
		return g.inner.GetSenderKey(ctx, group, user)
	})
}

// takeSteps returns what the send has not written. Until forgetSteps it is still what others get.
func (s *Send) takeSteps() steps {
	var names [][2]string
	s.came(func(s *Send) { names, s.steps = s.steps, nil })
	if len(names) == 0 {
		return nil
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	out := steps{}
	for _, name := range names {
		if key, ok := s.d.steps[name]; ok {
			out[name] = key
		}
	}
	return out
}

// forgetSteps drops what is written by now, or was not to be. A failure to write has made the
// device unusable, so that nobody goes on with what is stored.
func (d *Device) forgetSteps(done steps) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, key := range done {
		if bytes.Equal(d.steps[name], key) { // no later step has followed
			delete(d.steps, name)
		}
	}
}

// putSteps writes the sender keys of a send for which no session is saved.
func (g *guard) putSteps(ctx context.Context, s *Send) error {
	keys := s.takeSteps()
	defer g.d.forgetSteps(keys)
	for name, key := range keys {
		if err := g.d.call(ctx, "PutSenderKey", func() error { return g.inner.PutSenderKey(ctx, name[0], name[1], key) }); err != nil {
			return err
		}
	}
	return nil
}

// putUnsettled writes the sender keys of a send that may save no session: a message that
// nobody can be encrypted for leaves all the same, and no call of whatsmeow's says that it is
// about to. With one session that is sure to encrypt, whatever becomes of the others, they wait.
func (g *guard) putUnsettled(ctx context.Context, s *Send, sessions map[string][]byte) error {
	var waiting bool
	s.came(func(s *Send) { waiting = len(s.steps) > 0 })
	if !waiting {
		return nil
	}
	for address, raw := range sessions {
		if sure, err := g.encrypts(ctx, address, raw); sure || err != nil {
			return err
		}
	}
	return g.putSteps(ctx, s)
}

// encrypts says whether a session is sure to encrypt: all that libsignal's cipher looks at
// before it saves the session is there. The identity, which it writes before that, is written
// now, so that it has nothing to write: a device whose identity could not be written is left
// out, and its session not saved.
func (g *guard) encrypts(ctx context.Context, address string, raw []byte) (bool, error) {
	if raw == nil {
		return false, nil
	}
	rec, err := record.NewSessionFromBytes(raw, store.SignalProtobufSerializer.Session, store.SignalProtobufSerializer.State)
	if err != nil {
		return false, nil //nolint:nilerr // whatsmeow passes over such a session, too
	}
	state := rec.SessionState()
	if !state.HasSenderChain() || state.RemoteIdentityKey() == nil {
		return false, nil
	}
	if state.HasUnacknowledgedPreKeyMessage() {
		if _, err = state.UnackPreKeyMessageItems(); err != nil {
			return false, nil //nolint:nilerr // the cipher fails with it, for this device only
		}
	}
	key := state.RemoteIdentityKey().PublicKey().PublicKey()
	if trusted, err := g.IsTrustedIdentity(ctx, address, key); !trusted || err != nil {
		return false, err
	}
	return true, g.PutIdentity(ctx, address, key)
}
