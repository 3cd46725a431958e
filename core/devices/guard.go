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
func (g *guard) GetManySessions(ctx context.Context, addresses []string) (map[string][]byte, error) {
	if err := sendingOf(ctx).hold(ctx); err != nil {
		return nil, err
	}
	others := make([]string, 0, len(addresses))
	for _, a := range addresses {
		if !g.own[a] {
			others = append(others, a)
		}
	}
	return one(g.d, "GetManySessions", func() (map[string][]byte, error) { return g.inner.GetManySessions(ctx, others) })
}

// PutManySessions implements store.SessionStore: with it a send has done with sessions.
func (g *guard) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	defer sendingOf(ctx).release()
	return g.d.call("PutManySessions", func() error { return g.inner.PutManySessions(ctx, sessions) })
}

// GetBufferedEvent implements store.EventBuffer. It is the first call for each
// message, so that a device which failed before decrypts nothing.
func (g *guard) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	if err := g.d.usable(); err != nil {
		return nil, err
	}
	ev, err := one(g.d, "GetBufferedEvent", func() (*store.BufferedEvent, error) { return g.inner.GetBufferedEvent(ctx, hash) })
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
		return poisoned(g.d.note("DoDecryptionTxn", err))
	}
	var inner error
	err := g.inner.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		inner = fn(ctx)
		if failed := g.d.Failed(); failed != nil {
			return poisoned(failed) // and so rolled back
		}
		return inner
	})
	switch {
	case g.d.Failed() != nil:
		return poisoned(g.d.Failed())
	case err != nil && (inner == nil || !errors.Is(err, inner)):
		// fn was content: beginning or committing failed.
		return poisoned(g.d.note("DoDecryptionTxn", err))
	}
	return err
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
	return g.d.call("PutLIDMapping", func() error { return g.lids.PutLIDMapping(ctx, lid, pn) })
}

// GetPNForLID implements store.LIDStore.
func (g *guard) GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error) {
	if !isUser(lid, types.HiddenUserServer) {
		return g.lids.GetPNForLID(ctx, lid)
	}
	return one(g.d, "GetPNForLID", func() (types.JID, error) { return g.lids.GetPNForLID(ctx, lid) })
}

// GetLIDForPN implements store.LIDStore.
func (g *guard) GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error) {
	if !isUser(pn, types.DefaultUserServer) {
		return g.lids.GetLIDForPN(ctx, pn)
	}
	return one(g.d, "GetLIDForPN", func() (types.JID, error) { return g.lids.GetLIDForPN(ctx, pn) })
}
