package devices_test

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/devices"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// paired makes a device as pairing leaves it.
func paired(t *testing.T, c *devices.Container, jid string) *devices.Device {
	t.Helper()
	d, err := c.New(t.Context(), devices.Owner{})
	require.NoError(t, err)
	id, err := types.ParseJID(jid)
	require.NoError(t, err)
	d.Store.ID = &id
	d.Store.LID = types.JID{User: "700001", Device: id.Device, Server: types.HiddenUserServer}
	d.Store.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte("d"), AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	require.NoError(t, d.Store.Save(t.Context()))
	return d
}

const jid = "15550001:4@s.whatsapp.net"

func TestKeysAreKeptForTheirOwnerOnly(t *testing.T) {
	c, path := openFile(t, devices.Deps{})
	paired(t, c, jid)
	for _, p := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(p)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), p)
	}
	d, err := c.Device(t.Context(), jid, devices.Owner{})
	require.NoError(t, err)
	require.Equal(t, jid, d.Store.GetJID().String())
	list, err := c.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{jid}, list)
	require.NoError(t, c.Delete(t.Context(), jid, devices.Owner{}))
	require.NoError(t, c.Delete(t.Context(), jid, devices.Owner{}))
	_, err = c.Device(t.Context(), jid, devices.Owner{})
	require.ErrorIs(t, err, devices.ErrNotFound)
	_, err = c.Device(t.Context(), "1:2:3@x", devices.Owner{})
	require.Error(t, err)
}

func TestOurOwnDeviceNeedsNoSession(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		own, lid := d.Store.ID.SignalAddress().String(), d.Store.LID.SignalAddress().String()
		got, err := d.Store.Sessions.GetManySessions(t.Context(), []string{own, lid, "other:0"})
		require.NoError(t, err)
		require.Contains(t, got, "other:0")
		require.NotContains(t, got, own)
		require.NotContains(t, got, lid)
	})
}

// Every method of every store goes through the guard: each can be made to fail, and
// then nothing is decrypted any more.
func TestEveryMethodPoisons(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var f devices.Faults
		c, _ := open(t, devices.Deps{Faults: &f})
		paired(t, c, jid)
		pn, lid := types.NewJID("1", types.DefaultUserServer), types.NewJID("2", types.HiddenUserServer)
		n := 0
		for _, role := range []reflect.Type{
			reflect.TypeFor[store.AllStores](), reflect.TypeFor[store.DeviceContainer](),
		} {
			for i := range role.NumMethod() {
				name := role.Method(i).Name
				n++
				d, err := c.Device(t.Context(), jid, devices.Owner{})
				require.NoError(t, err)
				var told error
				d.OnFailure(func(err error) { told = err })
				var target any = d.Store.EventBuffer
				if role == reflect.TypeFor[store.DeviceContainer]() {
					target = d.Store.Container
				}
				f.Fail(name, 1)
				m := reflect.ValueOf(target).MethodByName(name)
				in := make([]reflect.Value, m.Type().NumIn())
				jids := 0
				for k := range in {
					switch in[k] = reflect.Zero(m.Type().In(k)); m.Type().In(k) {
					case reflect.TypeFor[context.Context]():
						in[k] = reflect.ValueOf(t.Context())
					case reflect.TypeFor[*store.Device]():
						in[k] = reflect.ValueOf(d.Store)
					case reflect.TypeFor[types.JID]():
						j := pn
						if name == "GetPNForLID" || name == "PutLIDMapping" && jids == 0 {
							j = lid
						}
						jids++
						in[k] = reflect.ValueOf(j)
					case reflect.TypeFor[func(context.Context) error]():
						in[k] = reflect.ValueOf(func(context.Context) error { return nil })
					}
				}
				call := m.Call
				if m.Type().IsVariadic() {
					call = m.CallSlice
				}
				out := call(in)
				err, _ = out[len(out)-1].Interface().(error)
				if name == "ClearBufferedEventPlaintext" { // it rides along with the next decryption
					require.NoError(t, err)
					err = d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return nil })
				}
				require.ErrorIs(t, err, devices.ErrInjected, name)
				require.ErrorIs(t, d.Failed(), devices.ErrInjected, name)
				require.ErrorIs(t, told, devices.ErrInjected, name)
				require.EqualValues(t, 1, d.Failures(), name)
				_, err = d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{})
				require.ErrorIs(t, err, context.Canceled, name)
				ran := false
				err = d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { ran = true; return nil })
				require.ErrorIs(t, err, context.Canceled, name)
				require.False(t, ran, name)
			}
		}
		require.Equal(t, 57, n, "whatsmeow's store has other methods now")
	})
}

func TestAFailureWithinADecryptionRollsItBack(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		var f devices.Faults
		c, _ := open(t, devices.Deps{Faults: &f})
		paired(t, c, jid)
		load := func() *devices.Device {
			d, err := c.Device(t.Context(), jid, devices.Owner{})
			require.NoError(t, err)
			return d
		}
		d := load()
		hash := [32]byte{1}
		f.Fail("PutBufferedEvent", 1)
		err := d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
			require.NoError(t, d.Store.Sessions.PutSession(ctx, "bob:0", []byte("moved on")))
			got, err := d.Store.Sessions.GetSession(ctx, "bob:0")
			require.NoError(t, err)
			require.Equal(t, "moved on", string(got), "the transaction reads its own writes")
			return d.Store.EventBuffer.PutBufferedEvent(ctx, hash, []byte("hello"), time.Now())
		})
		require.ErrorIs(t, err, context.Canceled)
		d = load()
		got, err := d.Store.Sessions.GetSession(t.Context(), "bob:0")
		require.NoError(t, err)
		require.Nil(t, got)

		// One that whatsmeow swallows rolls it back as well.
		f.Fail("PutSenderKey", 1)
		err = d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
			_ = d.Store.SenderKeys.PutSenderKey(ctx, "g", "u", []byte("k"))
			return d.Store.Sessions.PutSession(ctx, "bob:0", []byte("moved on"))
		})
		require.ErrorIs(t, err, context.Canceled)
		got, err = load().Store.Sessions.GetSession(t.Context(), "bob:0")
		require.NoError(t, err)
		require.Nil(t, got)
	})
}

func TestABadMessageDoesNotPoison(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		bad := errors.New("bad message")
		err := d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return bad })
		require.ErrorIs(t, err, bad)
		require.NotErrorIs(t, err, context.Canceled)
		require.NoError(t, d.Failed())
		// Nor does a question that no store could answer.
		_, err = d.Store.LIDs.GetLIDForPN(t.Context(), types.NewJID("1", types.GroupServer))
		require.Error(t, err)
		require.NoError(t, d.Failed())
	})
}

func TestARetiredDeviceDecryptsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, open opener) {
		c, _ := open(t, devices.Deps{})
		d := paired(t, c, jid)
		in, out := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- d.Store.EventBuffer.DoDecryptionTxn(context.Background(), func(context.Context) error {
				close(in)
				<-out
				return nil
			})
		}()
		<-in
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, d.Retire(ctx), context.DeadlineExceeded, "it waits for what is under way")
		close(out)
		require.NoError(t, d.Retire(t.Context()))
		require.NoError(t, <-ended)
		err := d.Store.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { return nil })
		require.ErrorIs(t, err, context.Canceled)
		_, err = d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{})
		require.ErrorIs(t, err, context.Canceled)
	})
}
