package soak

import (
	"context"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// whatsmeow reads a session, encrypts, and writes it back, with no lock against a decryption,
// a move of the session to the peer's hidden identifier, or a message that it sends again
// meanwhile. The later write undoes the earlier one: a counter comes twice, or what the peer
// sends next cannot be read. What follows keeps them apart, from outside, as every user of
// whatsmeow who sends while it receives has to.

type holdingKey struct{}

// holding marks the context of whoever holds the client's sessions.
func holding(ctx context.Context) context.Context { return context.WithValue(ctx, holdingKey{}, true) }

func isHolding(ctx context.Context) bool { return ctx.Value(holdingKey{}) != nil }

type exclusiveBuffer struct {
	store.EventBuffer
	c *client
}

// DoDecryptionTxn implements store.EventBuffer.
func (e *exclusiveBuffer) DoDecryptionTxn(ctx context.Context, f func(context.Context) error) error {
	e.c.sessions.Lock()
	defer e.c.sessions.Unlock()
	return e.EventBuffer.DoDecryptionTxn(holding(ctx), f)
}

type exclusiveSessions struct {
	store.SessionStore
	c *client
}

// MigratePNToLID implements store.SessionStore.
func (e *exclusiveSessions) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	if !isHolding(ctx) && e.c.resend.Load() == nil {
		e.c.sessions.Lock()
		defer e.c.sessions.Unlock()
	}
	return e.SessionStore.MigratePNToLID(ctx, pn, lid)
}

// PutSession implements store.SessionStore.
func (e *exclusiveSessions) PutSession(ctx context.Context, address string, session []byte) error {
	err := e.SessionStore.PutSession(ctx, address, session)
	if timer := e.c.resend.Load(); timer != nil && !isHolding(ctx) {
		timer.Reset(resendRest)
	}
	return err
}

const (
	resendLimit = 3 * time.Second       // for a resend that writes no session
	resendRest  = 50 * time.Millisecond // after a session that it wrote: it may write a second
)

// beginResend holds the sessions for a message that whatsmeow is about to send again. It
// does not say when it is done: it is some time after its last write.
func (c *client) beginResend() {
	c.sessions.Lock()
	var once sync.Once
	c.resend.Store(time.AfterFunc(resendLimit, func() {
		once.Do(func() {
			c.resend.Store(nil)
			c.sessions.Unlock()
		})
	}))
}
