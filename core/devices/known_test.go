package devices_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

// storedIdentity reads the file past the device.
func storedIdentity(t *testing.T, path string) (key []byte) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	require.NoError(t, err)
	defer db.Close()
	err = db.QueryRowContext(t.Context(), "SELECT identity FROM whatsmeow_identity_keys WHERE their_id=$1", peer).Scan(&key)
	if !errors.Is(err, sql.ErrNoRows) {
		require.NoError(t, err)
	}
	return key
}

func TestAnIdentityIsBelievedStoredOnlyWhileItIs(t *testing.T) {
	one, two := [32]byte{1}, [32]byte{2}
	put := func(key [32]byte) func(*testing.T, *devices.Device) {
		return func(t *testing.T, d *devices.Device) {
			require.NoError(t, d.Store.Identities.PutIdentity(t.Context(), peer, key))
		}
	}
	for name, undo := range map[string]func(*testing.T, *devices.Device){
		"replaced": put(two),
		"deleted": func(t *testing.T, d *devices.Device) {
			require.NoError(t, d.Store.Identities.DeleteIdentity(t.Context(), peer))
		},
		"deleted with the number's others": func(t *testing.T, d *devices.Device) {
			require.NoError(t, d.Store.Identities.DeleteAllIdentities(t.Context(), "42"))
		},
		"moved to a LID": func(t *testing.T, d *devices.Device) {
			pn, lid := types.NewJID("42", types.DefaultUserServer), types.NewJID("77", types.HiddenUserServer)
			require.NoError(t, d.Store.Sessions.MigratePNToLID(t.Context(), pn, lid))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, path := openFile(t, devices.Deps{})
			d := paired(t, c, jid)
			put(one)(t, d)
			require.Equal(t, one[:], storedIdentity(t, path))
			undo(t, d)
			require.NotEqual(t, one[:], storedIdentity(t, path))
			put(one)(t, d)
			require.Equal(t, one[:], storedIdentity(t, path))
		})
	}
}

func TestAnIdentityOfADecryptionThatWasRolledBackIsStoredTheNextTime(t *testing.T) {
	c, path := openFile(t, devices.Deps{})
	d := paired(t, c, jid)
	bad := errors.New("bad message")
	key := [32]byte{1}
	require.ErrorIs(t, d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
		require.NoError(t, d.Store.Identities.PutIdentity(ctx, peer, key))
		return bad
	}), bad)
	require.Nil(t, storedIdentity(t, path))
	require.NoError(t, d.Store.Identities.PutIdentity(t.Context(), peer, key))
	require.Equal(t, key[:], storedIdentity(t, path))
	trusted, err := d.Store.Identities.IsTrustedIdentity(t.Context(), peer, [32]byte{2})
	require.NoError(t, err)
	require.False(t, trusted)
}

func TestABufferedEventIsFoundHoweverManyThereAre(t *testing.T) {
	if testing.Short() {
		t.Skip("one call after the other: the short form, for the race detector, leaves it out")
	}
	c, path := openFile(t, devices.Deps{})
	d := paired(t, c, jid)
	first, last, absent := [32]byte{1}, [32]byte{2}, [32]byte{3}
	buffer(t, d, first)
	found := func(want bool, hash [32]byte) {
		t.Helper()
		ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), hash)
		require.NoError(t, err)
		require.Equal(t, want, ev != nil)
	}
	found(true, first)
	found(false, absent)
	// More than are remembered, left by others.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 40000)
		INSERT INTO whatsmeow_event_buffer (our_jid, ciphertext_hash, server_timestamp, insert_timestamp)
		SELECT $1, CAST(printf('%032d', i) AS BLOB), 1, $2 FROM n`, jid, time.Now().UnixMilli())
	require.NoError(t, err)
	d, err = c.Device(t.Context(), jid, devices.Owner{})
	require.NoError(t, err)
	found(true, first)
	found(false, absent)
	buffer(t, d, last)
	found(true, last)
}
