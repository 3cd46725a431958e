package devices_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/devices/devicetest"
	"github.com/wildcathub/wildcat/core/devices/rows"
)

// Keys that are imported twice are as they were exported, and can be used under any lease.
func TestKeysAreMovedAsTheyAre(t *testing.T) {
	ctx := t.Context()
	from, _ := openFile(t, devices.Deps{})
	id, err := types.ParseJID(devicetest.JID)
	require.NoError(t, err)
	o := devices.Owner{Account: "anna", Epoch: 7}
	d, err := from.New(ctx, o)
	require.NoError(t, err)
	d.Store.ID = &id
	d.Store.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte{1}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	require.NoError(t, d.Store.Save(ctx))
	require.NoError(t, d.Store.Sessions.PutSession(ctx, "1:2", []byte{1}))
	_, err = d.Store.PreKeys.GetOrGenPreKeys(ctx, 30)
	require.NoError(t, err)
	require.NoError(t, d.Store.LIDs.PutLIDMapping(ctx, types.NewJID("8", types.HiddenUserServer), types.NewJID("9", types.DefaultUserServer)))
	exported := func(c *devices.Container) (out [][]rows.Row) {
		for _, table := range rows.Tables() {
			var all []rows.Row
			require.NoError(t, c.ExportKeys(ctx, devicetest.JID, table, func(r rows.Row) error {
				all = append(all, r)
				return nil
			}))
			out = append(out, all)
		}
		return out
	}
	want := exported(from)
	require.NoError(t, d.Retire(ctx))
	onEach(t, func(t *testing.T, open opener) {
		to, _ := open(t, devices.Deps{})
		for range 2 {
			for i, table := range rows.Tables() {
				require.NoError(t, to.ImportKeys(ctx, devicetest.JID, o, table, want[i]))
			}
		}
		require.Equal(t, want, exported(to))
		d, err := to.Device(ctx, devicetest.JID, devices.Owner{Account: "anna", Epoch: 1})
		require.NoError(t, err)
		require.NoError(t, d.Store.Sessions.PutSession(ctx, "1:2", []byte{2}))
		keys, err := d.Store.PreKeys.GetOrGenPreKeys(ctx, 31)
		require.NoError(t, err)
		require.EqualValues(t, 31, keys[30].KeyID)
		require.NoError(t, d.Retire(ctx))
	})
}
