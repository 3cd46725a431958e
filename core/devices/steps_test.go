package devices_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"

	"github.com/wildcathub/wildcat/core/devices"
)

const group, me = "123@g.us", "700001:4"

// stored reads a sender key with fresh eyes: what the database has.
func stored(t *testing.T, open func() *devices.Container) []byte {
	t.Helper()
	d, err := open().Device(t.Context(), jid, devices.Owner{})
	require.NoError(t, err)
	key, err := d.Store.SenderKeys.GetSenderKey(t.Context(), group, me)
	require.NoError(t, err)
	return key
}

// onMongo runs a test on a database that can be opened again and again.
func onMongo(t *testing.T, deps devices.Deps) (open func() *devices.Container, d *devices.Device) {
	t.Helper()
	name := database(t)
	open = func() *devices.Container { return openMongo(t, connect(t, nil).Database(name), deps) }
	return open, paired(t, open(), jid)
}

// befriend makes a session as the first message to a device does.
func befriend(t *testing.T, d *devices.Device, with types.JID) {
	t.Helper()
	id, signed := keys.NewKeyPair(), keys.NewKeyPair()
	djb := func(k *keys.KeyPair) ecc.ECPublicKeyable { return ecc.NewDjbECPublicKey(*k.Pub) }
	signature := id.Sign(signed)
	bundle := prekey.NewBundle(1, 0, optional.NewEmptyUint32(), 1, nil, djb(signed), *signature, identity.NewKey(djb(id)))
	builder := session.NewBuilderFromSignal(d.Store, with.SignalAddress(), store.SignalProtobufSerializer)
	require.NoError(t, builder.ProcessBundle(t.Context(), bundle))
}

// Both steps of a message to a group are durable before it leaves, in one write.
func TestASenderKeyIsWrittenWithTheSessions(t *testing.T) {
	open, d := onMongo(t, devices.Deps{})
	befriend(t, d, bob)
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), group, me, []byte("0")))

	ctx, send := d.Sending(t.Context())
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(ctx, group, me, []byte("1")))
	address := bob.SignalAddress().String()
	got, err := d.Store.Sessions.GetManySessions(ctx, []string{address, "99:0"})
	require.NoError(t, err)
	require.Equal(t, "0", string(stored(t, open)), "one of them is sure to encrypt, and to be saved")
	for _, ctx := range []context.Context{ctx, t.Context()} {
		key, err := d.Store.SenderKeys.GetSenderKey(ctx, group, me)
		require.NoError(t, err)
		require.Equal(t, "1", string(key), "nobody takes the same step again")
	}
	require.NoError(t, d.Store.Sessions.PutManySessions(ctx, map[string][]byte{address: got[address]}))
	require.Equal(t, "1", string(stored(t, open)))
	send.Done()
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), group, me, []byte("2")))
	require.Equal(t, "2", string(stored(t, open)), "nothing is left of the send")
}

// A message that nobody can be encrypted for leaves without a session being saved.
func TestASenderKeyIsWrittenWhereNoSessionIsSureToBe(t *testing.T) {
	for name, with := range map[string]func(*testing.T, *devices.Device) string{
		"none": func(*testing.T, *devices.Device) string { return "99:0" },
		"damaged": func(t *testing.T, d *devices.Device) string {
			require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "99:0", []byte("damaged")))
			return "99:0"
		},
		"of another identity": func(t *testing.T, d *devices.Device) string {
			befriend(t, d, bob)
			require.NoError(t, d.Store.Identities.PutIdentity(t.Context(), bob.SignalAddress().String(), [32]byte{1}))
			return bob.SignalAddress().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			open, d := onMongo(t, devices.Deps{})
			address := with(t, d)
			ctx, send := d.Sending(t.Context())
			defer send.Done()
			require.NoError(t, d.Store.SenderKeys.PutSenderKey(ctx, group, me, []byte("1")))
			_, err := d.Store.Sessions.GetManySessions(ctx, []string{address})
			require.NoError(t, err)
			require.Equal(t, "1", string(stored(t, open)))
		})
	}
}

// A send that came to nothing before it read a session has taken its step all the same.
func TestASenderKeyIsWrittenAtTheLatestWhenTheSendIsOver(t *testing.T) {
	open, d := onMongo(t, devices.Deps{})
	ctx, send := d.Sending(t.Context())
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(ctx, group, me, []byte("1")))
	require.Nil(t, stored(t, open))
	send.Done()
	require.Equal(t, "1", string(stored(t, open)))
}

// With a sender key that is not written no message may leave.
func TestASenderKeyThatIsNotWrittenEndsTheSend(t *testing.T) {
	var f devices.Faults
	_, d := onMongo(t, devices.Deps{Faults: &f})
	ctx, send := d.Sending(t.Context())
	defer send.Done()
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(ctx, group, me, []byte("1")))
	_, err := d.Store.LIDs.GetManyLIDsForPNs(ctx, nil)
	require.NoError(t, err)
	f.Fail("PutSenderKey", 1)
	_, err = d.Store.Sessions.GetManySessions(ctx, []string{"99:0"})
	require.Error(t, err)
	require.False(t, send.MayHaveLeft(types.NewJID("123", types.GroupServer)))
	require.Error(t, d.Failed())
}

// The cipher writes an identity that is not known before it saves the session, and a device of
// which that fails is left out: the message leaves all the same.
func TestASenderKeyIsNotLeftToASessionWhoseIdentityCannotBeWritten(t *testing.T) {
	var f devices.Faults
	open, d := onMongo(t, devices.Deps{Faults: &f})
	befriend(t, d, bob)
	address := bob.SignalAddress().String()
	require.NoError(t, d.Store.Identities.DeleteIdentity(t.Context(), address))
	ctx, send := d.Sending(t.Context())
	defer send.Done()
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(ctx, group, me, []byte("1")))
	f.Fail("PutIdentity", 1)
	_, err := d.Store.Sessions.GetManySessions(ctx, []string{address})
	require.Error(t, err, "it ends before anything leaves")
	require.Error(t, d.Failed())
	require.Empty(t, stored(t, open))
}
