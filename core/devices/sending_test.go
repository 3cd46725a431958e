package devices_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

const peer = "42:0"

// A message that is decrypted while a send has the same sessions in its hands would
// have its step of the session undone by the send's later write.
func TestASendAndADecryptionDoNotUndoEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		require.NoError(t, d.Store.Sessions.PutSession(t.Context(), peer, []byte("0")))

		ctx, send := d.Sending(t.Context())
		got, err := d.Store.Sessions.GetManySessions(ctx, []string{peer})
		require.NoError(t, err)

		decrypted := make(chan error, 1)
		go func() {
			decrypted <- d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
				s, err := d.Store.Sessions.GetSession(ctx, peer)
				if err != nil {
					return err
				}
				return d.Store.Sessions.PutSession(ctx, peer, append(s, 'd'))
			})
		}()
		select {
		case err := <-decrypted:
			t.Fatalf("a message was decrypted between a send's reading and writing: %v", err)
		case <-time.After(50 * time.Millisecond): // it had the chance
		}
		require.NoError(t, d.Store.Sessions.PutManySessions(ctx, map[string][]byte{peer: append(got[peer], 's')}))
		require.NoError(t, <-decrypted, "the write ends the hold, before the send is acknowledged")
		send.Done()
		send.Done()
		s, err := d.Store.Sessions.GetSession(t.Context(), peer)
		require.NoError(t, err)
		require.Equal(t, "0sd", string(s))
	})
}

func TestASendThatWritesNothingHoldsUpNothing(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		ctx, send := d.Sending(t.Context())
		_, err := d.Store.Sessions.GetManySessions(ctx, []string{peer})
		require.NoError(t, err)
		send.Done()
		require.NoError(t, d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return nil }))
	})
}

// The order of whatsmeow's calls is what tells how far a send came.
func TestHowFarASendCame(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var f devices.Faults
		c, _ := open(t, devices.Deps{Faults: &f})
		paired(t, c, jid)
		group := types.NewJID("123", types.GroupServer)
		steps := map[string]func(context.Context, *devices.Device) error{
			"GetManyLIDsForPNs": func(ctx context.Context, d *devices.Device) error {
				_, err := d.Store.LIDs.GetManyLIDsForPNs(ctx, []types.JID{bob})
				return err
			},
			"GetManySessions": func(ctx context.Context, d *devices.Device) error {
				_, err := d.Store.Sessions.GetManySessions(ctx, []string{peer})
				return err
			},
			"PutManySessions": func(ctx context.Context, d *devices.Device) error {
				return d.Store.Sessions.PutManySessions(ctx, map[string][]byte{peer: []byte("1")})
			},
			"GetPrivacyToken": func(ctx context.Context, d *devices.Device) error {
				_, err := d.Store.PrivacyTokens.GetPrivacyToken(ctx, bob)
				return err
			},
		}
		for _, c2 := range []struct {
			calls      []string
			fails      bool // the last one
			bob, group bool
		}{
			{},
			{calls: []string{"GetManyLIDsForPNs"}, group: true},
			{calls: []string{"GetManyLIDsForPNs"}, fails: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions"}, group: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions"}, fails: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions", "PutManySessions"}, group: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions", "PutManySessions"}, fails: true},
			// Nobody could be encrypted for: there are no sessions to save, and it leaves.
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions", "GetPrivacyToken"}, bob: true, group: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions", "PutManySessions", "GetPrivacyToken"}, bob: true, group: true},
			{calls: []string{"GetManyLIDsForPNs", "GetManySessions", "PutManySessions", "GetPrivacyToken"}, fails: true, bob: true, group: true},
		} {
			d, err := c.Device(t.Context(), jid, devices.Owner{})
			require.NoError(t, err)
			ctx, send := d.Sending(t.Context())
			for i, name := range c2.calls {
				if fail := c2.fails && i == len(c2.calls)-1; fail {
					f.Fail(name, 1)
					require.Error(t, steps[name](ctx, d))
				} else {
					require.NoError(t, steps[name](ctx, d))
				}
			}
			require.Equal(t, c2.bob, send.MayHaveLeft(bob), "%+v", c2)
			require.Equal(t, c2.group, send.MayHaveLeft(group), "%+v", c2)
			require.True(t, send.MayHaveLeft(types.NewJID("1", types.NewsletterServer)), "it uses no sessions")
			send.Done()
		}
	})
}
