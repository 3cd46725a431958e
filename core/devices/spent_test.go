package devices_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/devices"
)

// buffer puts a plaintext into the buffer, as a decryption does.
func buffer(t *testing.T, d *devices.Device, hash [32]byte) {
	t.Helper()
	require.NoError(t, d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
		return d.Store.EventBuffer.PutBufferedEvent(ctx, hash, []byte("hello"), time.Now())
	}))
}

// plaintext reads the buffer past the device that wrote it.
func plaintext(t *testing.T, c *devices.Container, hash [32]byte) string {
	t.Helper()
	d, err := c.Device(t.Context(), jid, devices.Owner{})
	require.NoError(t, err)
	ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), hash)
	require.NoError(t, err)
	require.NotNil(t, ev)
	return string(ev.Plaintext)
}

func cleared(t *testing.T, c *devices.Container, hash [32]byte) {
	t.Helper()
	require.Eventually(t, func() bool { return plaintext(t, c, hash) == "" }, 10*time.Second, 10*time.Millisecond)
}

func TestAPlaintextIsClearedWithTheNextDecryption(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var f devices.Faults
		c, _ := open(t, devices.Deps{Faults: &f})
		d := paired(t, c, jid)
		one, two := [32]byte{1}, [32]byte{2}
		buffer(t, d, one)
		before := f.Calls()["DoDecryptionTxn"]
		require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), one))
		require.Zero(t, f.Calls()["ClearBufferedEventPlaintext"], "no transaction of its own")
		buffer(t, d, two)
		require.Equal(t, before+1, f.Calls()["DoDecryptionTxn"])
		require.Empty(t, plaintext(t, c, one))
		require.Equal(t, "hello", plaintext(t, c, two))
	})
}

func TestAPlaintextIsClearedWhenNothingFollows(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		for i := range byte(2) { // again after it was idle
			hash := [32]byte{i + 1}
			buffer(t, d, hash)
			require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), hash))
			cleared(t, c, hash)
		}
	})
}

func TestAPlaintextWhoseClearingIsRolledBackIsClearedLater(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		hash := [32]byte{1}
		buffer(t, d, hash)
		require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), hash))
		bad := errors.New("bad message")
		require.ErrorIs(t, d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return bad }), bad)
		require.Equal(t, "hello", plaintext(t, c, hash))
		cleared(t, c, hash)
		require.NoError(t, d.Failed())
	})
}

func TestRetiringClearsWhatIsLeft(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		hash := [32]byte{1}
		buffer(t, d, hash)
		require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), hash))
		require.NoError(t, d.Retire(t.Context()))
		require.Empty(t, plaintext(t, c, hash))
		// What comes after it is left to the successor.
		require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), hash))
	})
}

func TestManyPlaintextsDoNotWait(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		for i := range byte(64) {
			buffer(t, d, [32]byte{i})
		}
		for i := range byte(64) {
			require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), [32]byte{i}))
		}
		for i := range byte(64) {
			require.Empty(t, plaintext(t, c, [32]byte{i}))
		}
	})
}
