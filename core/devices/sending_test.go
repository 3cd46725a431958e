package devices_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const peer = "42:0"

// A message that is decrypted while a send has the same sessions in its hands would
// have its step of the session undone by the send's later write.
func TestASendAndADecryptionDoNotUndoEachOther(t *testing.T) {
	c, _ := open(t, nil)
	d := paired(t, c, jid)
	require.NoError(t, d.Store.Sessions.PutSession(t.Context(), peer, []byte("0")))

	ctx, done := d.Sending(t.Context())
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
	done()
	done()
	s, err := d.Store.Sessions.GetSession(t.Context(), peer)
	require.NoError(t, err)
	require.Equal(t, "0sd", string(s))
}

func TestASendThatWritesNothingHoldsUpNothing(t *testing.T) {
	c, _ := open(t, nil)
	d := paired(t, c, jid)
	ctx, done := d.Sending(t.Context())
	_, err := d.Store.Sessions.GetManySessions(ctx, []string{peer})
	require.NoError(t, err)
	done()
	require.NoError(t, d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return nil }))
}
