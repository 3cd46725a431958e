package devicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

func user(s string) types.JID { return types.NewJID(s, types.DefaultUserServer) }

func mac(b byte) []byte {
	out := make([]byte, 32)
	out[0] = b
	return out
}

func testAppState(t *testing.T, f *fixture) {
	d := f.open(t)
	const name = "regular_low"
	hash := func(b byte) (h [128]byte) { h[0] = b; return h }
	check := func(d *devices.Device, version uint64, h [128]byte, macs map[byte][]byte) {
		t.Helper()
		v, got, err := d.Store.AppState.GetAppStateVersion(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, version, v)
		require.Equal(t, h, got)
		for i, want := range macs {
			m, err := d.Store.AppState.GetAppStateMutationMAC(t.Context(), name, mac(i))
			require.NoError(t, err)
			require.Equal(t, want, m, "index %d", i)
		}
	}
	// advance is what whatsmeow does with a patch.
	advance := func(version uint64, h [128]byte, removed [][]byte, added map[byte]byte) {
		t.Helper()
		s := d.Store.AppState
		require.NoError(t, s.PutAppStateVersion(t.Context(), name, version, h))
		v, got, err := s.GetAppStateVersion(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, version, v, "seen at once")
		require.Equal(t, h, got)
		require.NoError(t, s.DeleteAppStateMutationMACs(t.Context(), name, removed))
		var macs []store.AppStateMutationMAC
		for i, v := range added {
			macs = append(macs, store.AppStateMutationMAC{IndexMAC: mac(i), ValueMAC: mac(v)})
		}
		require.NoError(t, s.PutAppStateMutationMACs(t.Context(), name, version, macs))
	}
	check(d, 0, hash(0), map[byte][]byte{1: nil})
	advance(3, hash(3), nil, map[byte]byte{1: 11, 2: 12, 3: 13})
	d = f.both(t, d, func(d *devices.Device) {
		check(d, 3, hash(3), map[byte][]byte{1: mac(11), 2: mac(12), 3: mac(13), 4: nil})
	})
	advance(4, hash(4), [][]byte{mac(1), mac(2)}, map[byte]byte{2: 22, 4: 14})
	d = f.both(t, d, func(d *devices.Device) {
		check(d, 4, hash(4), map[byte][]byte{1: nil, 2: mac(22), 3: mac(13), 4: mac(14)})
	})
	advance(5, hash(5), [][]byte{mac(3)}, nil)
	d = f.both(t, d, func(d *devices.Device) { check(d, 5, hash(5), map[byte][]byte{2: mac(22), 3: nil}) })
	require.NoError(t, d.Store.AppState.DeleteAppStateVersion(t.Context(), name))
	d = f.both(t, d, func(d *devices.Device) { check(d, 0, hash(0), map[byte][]byte{2: nil, 4: nil}) })
	advance(9, hash(9), nil, map[byte]byte{4: 44})
	f.both(t, d, func(d *devices.Device) { check(d, 9, hash(9), map[byte][]byte{2: nil, 4: mac(44)}) })
}

// testWholeState dies between the calls that advance a state, and between the writes.
func testWholeState(t *testing.T, f *fixture) {
	d := f.open(t)
	const name = "critical"
	put := func(d *devices.Device, version uint64, value byte) error {
		s := d.Store.AppState
		require.NoError(t, s.PutAppStateVersion(t.Context(), name, version, [128]byte{value}))
		require.NoError(t, s.DeleteAppStateMutationMACs(t.Context(), name, [][]byte{mac(2)}))
		return s.PutAppStateMutationMACs(t.Context(), name, version, []store.AppStateMutationMAC{
			{IndexMAC: mac(1), ValueMAC: mac(value)}, {IndexMAC: mac(3), ValueMAC: mac(value)},
		})
	}
	old := func(d *devices.Device) {
		t.Helper()
		v, h, err := d.Store.AppState.GetAppStateVersion(t.Context(), name)
		require.NoError(t, err)
		require.EqualValues(t, 1, v)
		require.Equal(t, [128]byte{1}, h)
		for i, want := range map[byte][]byte{1: mac(1), 2: nil, 3: mac(1)} {
			m, err := d.Store.AppState.GetAppStateMutationMAC(t.Context(), name, mac(i))
			require.NoError(t, err)
			require.Equal(t, want, m)
		}
	}
	require.NoError(t, put(d, 1, 1))
	require.NoError(t, d.Store.AppState.PutAppStateVersion(t.Context(), name, 2, [128]byte{2}))
	d = f.again(t)
	old(d)
	require.NoError(t, d.Store.AppState.PutAppStateVersion(t.Context(), name, 2, [128]byte{2}))
	require.NoError(t, d.Store.AppState.DeleteAppStateMutationMACs(t.Context(), name, [][]byte{mac(1)}))
	d = f.again(t)
	old(d)
	for n := range 4 {
		f.faults.Cut(n)
		require.Error(t, put(d, 2, 2))
		d = f.again(t)
		old(d)
	}
	require.NoError(t, put(d, 2, 2))
}

func testSyncKeys(t *testing.T, f *fixture) {
	d := f.open(t)
	s := d.Store.AppStateKeys
	latest, err := s.GetLatestAppStateSyncKeyID(t.Context())
	require.NoError(t, err)
	require.Nil(t, latest)
	none, err := s.GetAppStateSyncKey(t.Context(), []byte("a"))
	require.NoError(t, err)
	require.Nil(t, none)
	key := func(v string, ts int64) store.AppStateSyncKey {
		return store.AppStateSyncKey{Data: []byte(v), Fingerprint: []byte("f" + v), Timestamp: ts}
	}
	require.NoError(t, s.PutAppStateSyncKey(t.Context(), []byte("a/"), key("1", 100)))
	require.NoError(t, s.PutAppStateSyncKey(t.Context(), []byte("b"), key("2", 50)))
	require.NoError(t, s.PutAppStateSyncKey(t.Context(), []byte("a/"), key("old", 90)))
	require.NoError(t, s.PutAppStateSyncKey(t.Context(), []byte("b"), key("3", 60)))
	f.both(t, d, func(d *devices.Device) {
		for id, want := range map[string]store.AppStateSyncKey{"a/": key("1", 100), "b": key("3", 60)} {
			got, err := d.Store.AppStateKeys.GetAppStateSyncKey(t.Context(), []byte(id))
			require.NoError(t, err)
			require.Equal(t, &want, got)
		}
		latest, err := d.Store.AppStateKeys.GetLatestAppStateSyncKeyID(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a/", string(latest))
	})
}

func testContacts(t *testing.T, f *fixture) {
	d := f.open(t)
	s := d.Store.Contacts
	bob, eve := user("1"), user("2")
	got, err := s.GetContact(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, types.ContactInfo{}, got)
	changed, before, err := s.PutPushName(t.Context(), bob, "Bob")
	require.NoError(t, err)
	require.True(t, changed)
	require.Empty(t, before)
	changed, _, err = s.PutPushName(t.Context(), bob, "Bob")
	require.NoError(t, err)
	require.False(t, changed)
	changed, before, err = s.PutPushName(t.Context(), bob, "Bobby")
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "Bob", before)
	changed, _, err = s.PutBusinessName(t.Context(), eve, "Eve's")
	require.NoError(t, err)
	require.True(t, changed)
	require.NoError(t, s.PutContactName(t.Context(), bob, "R", "Robert"))
	require.NoError(t, s.PutAllContactNames(t.Context(), []store.ContactEntry{
		{JID: eve, FirstName: "E", FullName: "Eve"}, {JID: user("3"), FirstName: "T", FullName: "Three"}, {JID: eve, FirstName: "E", FullName: "Eve"},
	}))
	require.NoError(t, s.PutManyRedactedPhones(t.Context(), []store.RedactedPhoneEntry{{JID: eve, RedactedPhone: "+49∙∙∙"}}))
	require.NoError(t, s.PutAllContactNames(t.Context(), nil))
	require.NoError(t, s.PutManyRedactedPhones(t.Context(), nil))
	f.both(t, d, func(d *devices.Device) {
		want := map[types.JID]types.ContactInfo{
			bob:       {Found: true, PushName: "Bobby", FirstName: "R", FullName: "Robert"},
			eve:       {Found: true, BusinessName: "Eve's", FirstName: "E", FullName: "Eve", RedactedPhone: "+49∙∙∙"},
			user("3"): {Found: true, FirstName: "T", FullName: "Three"},
		}
		for jid, w := range want {
			got, err := d.Store.Contacts.GetContact(t.Context(), jid)
			require.NoError(t, err)
			require.Equal(t, w, got)
		}
		all, err := d.Store.Contacts.GetAllContacts(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, all)
	})
}

func testChatSettings(t *testing.T, f *fixture) {
	d := f.open(t)
	s := d.Store.ChatSettings
	got, err := s.GetChatSettings(t.Context(), user("1"))
	require.NoError(t, err)
	require.Equal(t, types.LocalChatSettings{}, got)
	until := time.Unix(2_000_000_000, 0)
	require.NoError(t, s.PutMutedUntil(t.Context(), user("1"), until))
	require.NoError(t, s.PutPinned(t.Context(), user("1"), true))
	require.NoError(t, s.PutArchived(t.Context(), user("1"), true))
	require.NoError(t, s.PutMutedUntil(t.Context(), user("2"), store.MutedForever))
	require.NoError(t, s.PutArchived(t.Context(), user("3"), false))
	d = f.both(t, d, func(d *devices.Device) {
		for jid, want := range map[types.JID]types.LocalChatSettings{
			user("1"): {Found: true, MutedUntil: until, Pinned: true, Archived: true},
			user("2"): {Found: true, MutedUntil: store.MutedForever},
			user("3"): {Found: true},
		} {
			got, err := d.Store.ChatSettings.GetChatSettings(t.Context(), jid)
			require.NoError(t, err)
			require.Equal(t, want, got, jid)
		}
	})
	require.NoError(t, d.Store.ChatSettings.PutMutedUntil(t.Context(), user("1"), time.Time{}))
	require.NoError(t, d.Store.ChatSettings.PutPinned(t.Context(), user("1"), false))
	f.both(t, d, func(d *devices.Device) {
		got, err := d.Store.ChatSettings.GetChatSettings(t.Context(), user("1"))
		require.NoError(t, err)
		require.Equal(t, types.LocalChatSettings{Found: true, Archived: true}, got)
	})
}

func testSecrets(t *testing.T, f *fixture) {
	d := f.open(t)
	chat, bob, bobLID := types.NewJID("g", types.GroupServer), user("1"), types.NewJID("9", types.HiddenUserServer)
	s := d.Store.MsgSecrets
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), bobLID, bob))
	bobDevice := bob
	bobDevice.Device = 7
	require.NoError(t, s.PutMessageSecret(t.Context(), chat, bobDevice, "A/1", []byte("one")))
	require.NoError(t, s.PutMessageSecret(t.Context(), chat, bob, "A/1", []byte("forged")))
	require.NoError(t, s.PutMessageSecrets(t.Context(), []store.MessageSecretInsert{
		{Chat: bob, Sender: bob, ID: "B", Secret: []byte("two")},
		{Chat: chat, Sender: bob, ID: "A/1", Secret: []byte("forged")},
		{Chat: bob, Sender: bob, ID: "C\xff", Secret: []byte("three")},
	}))
	require.NoError(t, s.PutMessageSecrets(t.Context(), nil))
	// One of a message on its way out is there at the latest when the send is over.
	ctx, send := d.Sending(t.Context())
	require.NoError(t, s.PutMessageSecret(ctx, chat, bob, "D", []byte("four")))
	require.NoError(t, d.Store.Sessions.PutManySessions(ctx, map[string][]byte{"1:0": []byte("s")}))
	require.NoError(t, s.PutMessageSecret(ctx, chat, bob, "E", []byte("five")))
	send.Done()
	f.both(t, d, func(d *devices.Device) {
		for _, x := range []struct {
			chat, sender types.JID
			id, want     string
		}{
			{chat, bob, "A/1", "one"},
			{chat, bobLID, "A/1", "one"},
			{bobLID, bobLID, "B", "two"},
			{bob, bobLID, "B", "two"},
			{bob, bob, "C\xff", "three"},
			{chat, bob, "D", "four"},
			{chat, bob, "E", "five"},
			{chat, user("2"), "A/1", ""},
			{bob, bob, "A/1", ""},
		} {
			got, from, err := d.Store.MsgSecrets.GetMessageSecret(t.Context(), x.chat, x.sender, x.id)
			require.NoError(t, err)
			require.Equal(t, x.want, string(got), "%v", x)
			if x.want != "" {
				require.Equal(t, bob, from)
			}
		}
	})
}

func testTokens(t *testing.T, f *fixture) {
	d := f.open(t)
	bob, bobLID, eve := user("1"), types.NewJID("9", types.HiddenUserServer), user("2")
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), bobLID, bob))
	s := d.Store.PrivacyTokens
	none, err := s.GetPrivacyToken(t.Context(), bob)
	require.NoError(t, err)
	require.Nil(t, none)
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	require.NoError(t, s.PutPrivacyTokens(t.Context(),
		store.PrivacyToken{User: bob, Token: []byte("old"), Timestamp: at(10)},
		store.PrivacyToken{User: bobLID, Token: []byte("new"), Timestamp: at(20)}))
	require.NoError(t, s.PutPrivacyTokens(t.Context(), store.PrivacyToken{User: eve, Token: []byte("e"), Timestamp: at(5)}))
	f.both(t, d, func(d *devices.Device) {
		for jid, want := range map[types.JID]*store.PrivacyToken{
			bob:       {User: bob, Token: []byte("new"), Timestamp: at(20)},
			bobLID:    {User: bobLID, Token: []byte("new"), Timestamp: at(20)},
			eve:       {User: eve, Token: []byte("e"), Timestamp: at(5)},
			user("3"): nil,
		} {
			got, err := d.Store.PrivacyTokens.GetPrivacyToken(t.Context(), jid)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
}
