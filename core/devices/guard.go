package devices

import (
	"context"
	"errors"
	"fmt"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// guard stands in front of all of a device's stores.
type guard struct {
	d     *Device
	inner store.AllSessionSpecificStores
	lids  store.LIDStore
	// own are our own device's addresses.
	own map[string]bool
}

var _ store.AllStores = (*guard)(nil)

// GetManySessions implements store.SessionStore. It leaves out our own device, which
// has no session with itself: whatsmeow would fetch, and so use up, a prekey of ours
// for every direct message.
func (g *guard) GetManySessions(ctx context.Context, addresses []string) (got map[string][]byte, err error) {
	send := sendOf(ctx)
	if err = send.hold(ctx); err == nil {
		others := make([]string, 0, len(addresses))
		for _, a := range addresses {
			if !g.own[a] {
				others = append(others, a)
			}
		}
		got, err = one(ctx, g.d, "GetManySessions", func() (map[string][]byte, error) { return g.inner.GetManySessions(ctx, others) })
	}
	if err == nil && send != nil {
		err = g.putUnsettled(ctx, send, got)
	}
	if err != nil {
		send.came(func(s *Send) { s.ended = true })
	}
	return got, err
}

// PutManySessions implements store.SessionStore: with it a send has done with sessions.
func (g *guard) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	send := sendOf(ctx)
	defer send.release()
	err := g.d.call(ctx, "PutManySessions", func() error {
		if w, ok := g.inner.(sentWriter); ok {
			keys := send.takeSteps()
			defer g.d.forgetSteps(keys)
			return w.PutSent(ctx, sessions, keys, send.takeSecrets())
		}
		return g.inner.PutManySessions(ctx, sessions)
	})
	if err != nil {
		send.came(func(s *Send) { s.ended = true })
	}
	return err
}

// GetManyLIDsForPNs implements store.LIDStore. A send calls it before it encrypts.
func (g *guard) GetManyLIDsForPNs(ctx context.Context, pns []types.JID) (map[types.JID]types.JID, error) {
	got, err := one(ctx, g.d, "GetManyLIDsForPNs", func() (map[types.JID]types.JID, error) { return g.lids.GetManyLIDsForPNs(ctx, pns) })
	sendOf(ctx).came(func(s *Send) { s.encrypting, s.ended = true, s.ended || err != nil })
	return got, err
}

// GetPrivacyToken implements store.PrivacyTokenStore. A send to a person calls it last.
func (g *guard) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	send := sendOf(ctx)
	send.came(func(s *Send) { s.last = true })
	if err := g.putSecrets(ctx, send.takeSecrets()); err != nil {
		return nil, err
	}
	return one(ctx, g.d, "GetPrivacyToken", func() (*store.PrivacyToken, error) { return g.inner.GetPrivacyToken(ctx, user) })
}

// GetBufferedEvent implements store.EventBuffer. It is the first call for each
// message, so that a device which failed before decrypts nothing.
func (g *guard) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	if err := g.d.usable(); err != nil {
		return nil, err
	}
	ev, err := one(ctx, g.d, "GetBufferedEvent", func() (*store.BufferedEvent, error) { return g.inner.GetBufferedEvent(ctx, hash) })
	if err != nil {
		return nil, poisoned(err)
	}
	// A call that another goroutine made may have failed meanwhile.
	return ev, g.d.usable()
}

// DoDecryptionTxn implements store.EventBuffer. fn gets the store's own context, which
// carries the transaction. A failure of the store within it rolls all back.
func (g *guard) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	if err := g.d.begin(); err != nil {
		return err
	}
	defer g.d.txns.Done()
	if err := g.d.takeSessions(ctx); err != nil {
		return poisoned(err) // a shutdown: neither acknowledged nor asked for again
	}
	defer g.d.giveSessions()
	if err := g.d.faults.hit("DoDecryptionTxn"); err != nil {
		return poisoned(g.d.note(ctx, "DoDecryptionTxn", err))
	}
	var inner error
	hashes := g.d.spent.take()
	err := g.inner.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		if err := g.clear(ctx, hashes); err != nil {
			return err
		}
		inner = fn(ctx)
		if failed := g.d.Failed(); failed != nil {
			return poisoned(failed) // and so rolled back
		}
		return inner
	})
	if err != nil {
		g.d.spent.back(hashes)
	}
	switch {
	case g.d.Failed() != nil:
		return poisoned(g.d.Failed())
	case err != nil && (inner == nil || !errors.Is(err, inner)):
		// fn was content: beginning or committing failed.
		return poisoned(g.d.note(ctx, "DoDecryptionTxn", err))
	}
	return err
}

// ClearBufferedEventPlaintext implements store.EventBuffer; see spent.
func (g *guard) ClearBufferedEventPlaintext(ctx context.Context, hash [32]byte) error {
	if g.d.spent.add(hash, func() { _ = g.clearSpent(context.Background()) }) { // it notes its failure itself
		return g.clearSpent(ctx)
	}
	return nil
}

// poisoned makes an error one that whatsmeow answers with silence.
func poisoned(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrPoisoned, err)
}

// PutLIDMapping implements store.LIDStore.
func (g *guard) PutLIDMapping(ctx context.Context, lid, pn types.JID) error {
	if !isUser(lid, types.HiddenUserServer) || !isUser(pn, types.DefaultUserServer) {
		return g.lids.PutLIDMapping(ctx, lid, pn)
	}
	return g.d.call(ctx, "PutLIDMapping", func() error { return g.lids.PutLIDMapping(ctx, lid, pn) })
}

// GetPNForLID implements store.LIDStore.
func (g *guard) GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error) {
	if !isUser(lid, types.HiddenUserServer) {
		return g.lids.GetPNForLID(ctx, lid)
	}
	return one(ctx, g.d, "GetPNForLID", func() (types.JID, error) { return g.lids.GetPNForLID(ctx, lid) })
}

// GetLIDForPN implements store.LIDStore.
func (g *guard) GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error) {
	if !isUser(pn, types.DefaultUserServer) {
		return g.lids.GetLIDForPN(ctx, pn)
	}
	return one(ctx, g.d, "GetLIDForPN", func() (types.JID, error) { return g.lids.GetLIDForPN(ctx, pn) })
}
