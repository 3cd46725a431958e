package devices_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

var bob = types.NewJID("16660001", types.DefaultUserServer)

// A send that runs out of time says nothing about the store.
func TestASendThatIsBrokenOffDoesNotPoison(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var log bytes.Buffer
		c, _ := open(t, devices.Deps{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))})
		d := paired(t, c, jid)
		require.NoError(t, d.Store.Sessions.PutSession(t.Context(), peer, []byte("0")))
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for want, ctx := range map[error]context.Context{context.Canceled: canceled, context.DeadlineExceeded: late} {
			sctx, send := d.Sending(ctx)
			for name, call := range map[string]func() error{
				"GetManySessions":   func() error { _, err := d.Store.Sessions.GetManySessions(sctx, []string{peer}); return err },
				"GetSession":        func() error { _, err := d.Store.Sessions.GetSession(sctx, peer); return err },
				"PutManySessions":   func() error { return d.Store.Sessions.PutManySessions(sctx, map[string][]byte{peer: []byte("1")}) },
				"IsTrustedIdentity": func() error { _, err := d.Store.Identities.IsTrustedIdentity(sctx, peer, [32]byte{}); return err },
				"PutIdentity":       func() error { return d.Store.Identities.PutIdentity(sctx, peer, [32]byte{}) },
				"GetSenderKey":      func() error { _, err := d.Store.SenderKeys.GetSenderKey(sctx, "g", "u"); return err },
				"PutSenderKey":      func() error { return d.Store.SenderKeys.PutSenderKey(sctx, "g", "u", []byte("k")) },
				"PutMessageSecret":  func() error { return d.Store.MsgSecrets.PutMessageSecret(sctx, bob, bob, "1", []byte("s")) },
				"GetPrivacyToken":   func() error { _, err := d.Store.PrivacyTokens.GetPrivacyToken(sctx, bob); return err },
				"GetLIDForPN":       func() error { _, err := d.Store.LIDs.GetLIDForPN(sctx, bob); return err },
				"GetManyLIDsForPNs": func() error { _, err := d.Store.LIDs.GetManyLIDsForPNs(sctx, []types.JID{bob}); return err },
			} {
				require.ErrorIs(t, call(), want, name)
				require.NoError(t, d.Failed(), name)
			}
			send.Done()
		}
		require.Zero(t, d.Failures())
		require.Empty(t, log.String())
		got, err := d.Store.Sessions.GetSession(t.Context(), peer)
		require.NoError(t, err)
		require.Equal(t, "0", string(got), "half a send is none")
	})
}

// What keeps in memory that it has been done is only healed by new objects.
func TestABrokenOffCallThatIsBelievedDonePoisonsQuietly(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var log bytes.Buffer
		c, _ := open(t, devices.Deps{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))})
		paired(t, c, jid)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		hidden := types.NewJID("700009", types.HiddenUserServer)
		for name, call := range map[string]func(ctx context.Context, d *devices.Device) error{
			"MigratePNToLID": func(ctx context.Context, d *devices.Device) error {
				return d.Store.Sessions.MigratePNToLID(ctx, bob, hidden)
			},
			"PutLIDMapping": func(ctx context.Context, d *devices.Device) error {
				return d.Store.LIDs.PutLIDMapping(ctx, hidden, bob)
			},
		} {
			d, err := c.Device(t.Context(), jid, devices.Owner{})
			require.NoError(t, err)
			sctx, send := d.Sending(ctx)
			require.ErrorIs(t, call(sctx, d), context.Canceled, name)
			require.ErrorIs(t, d.Failed(), context.Canceled, name)
			send.Done()
		}
		require.Empty(t, log.String())
	})
}

func TestADecryptionThatIsBrokenOffLeavesNothingHalfDone(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		hash := [32]byte{1}
		hidden := types.NewJID("700009", types.HiddenUserServer)
		paired(t, c, jid)
		for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
			"canceled": context.WithCancel,
			"late": func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				return ctx, func() { <-ctx.Done(); cancel() }
			},
		} {
			d, err := c.Device(t.Context(), jid, devices.Owner{})
			require.NoError(t, err)
			ctx, end := limit(t.Context())
			err = d.Store.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
				require.NoError(t, d.Store.Sessions.PutSession(ctx, peer, []byte("moved on")))
				require.NoError(t, d.Store.LIDs.PutLIDMapping(ctx, hidden, bob))
				end()
				return d.Store.EventBuffer.PutBufferedEvent(ctx, hash, []byte("hello"), time.Now())
			})
			require.ErrorIs(t, err, context.Canceled, name)
			d, err = c.Device(t.Context(), jid, devices.Owner{})
			require.NoError(t, err)
			got, err := d.Store.Sessions.GetSession(t.Context(), peer)
			require.NoError(t, err)
			require.Nil(t, got, name)
			lid, err := d.Store.LIDs.GetLIDForPN(t.Context(), bob)
			require.NoError(t, err)
			require.True(t, lid.IsEmpty(), "a mapping is believed that was rolled back: %s", name)
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = d.Store.EventBuffer.GetBufferedEvent(gone, hash)
			require.ErrorIs(t, err, context.Canceled, name)
		}
	})
}
