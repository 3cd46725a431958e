package devicetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/devices"
)

func testDevice(t *testing.T, f *fixture) {
	d, err := f.c.New(t.Context(), owner())
	require.NoError(t, err)
	require.Error(t, d.Store.Save(t.Context()), "it has no address yet")
	require.NoError(t, d.Failed())
	d = f.open(t)
	s := d.Store
	require.True(t, s.Initialized)
	for name, x := range map[string]any{
		"Identities": s.Identities, "Sessions": s.Sessions, "PreKeys": s.PreKeys, "SenderKeys": s.SenderKeys,
		"AppStateKeys": s.AppStateKeys, "AppState": s.AppState, "Contacts": s.Contacts, "ChatSettings": s.ChatSettings,
		"MsgSecrets": s.MsgSecrets, "PrivacyTokens": s.PrivacyTokens, "EventBuffer": s.EventBuffer, "LIDs": s.LIDs,
	} {
		require.NotNil(t, x, name)
	}
	s.PushName, s.LIDMigrationTimestamp, s.FacebookUUID = "Anna B.", 77, uuid.UUID{}
	require.NoError(t, s.Save(t.Context()))
	got := f.again(t).Store
	plain := cmp.Options{
		cmpopts.IgnoreFields(store.Device{}, "Log", "Identities", "Sessions", "PreKeys", "SenderKeys", "AppStateKeys", "AppState",
			"Contacts", "ChatSettings", "MsgSecrets", "PrivacyTokens", "EventBuffer", "LIDs", "Container"),
		cmpopts.IgnoreUnexported(waAdv.ADVSignedDeviceIdentity{}), cmpopts.EquateEmpty(),
	}
	require.Empty(t, cmp.Diff(s, got, plain))
	list, err := f.c.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{JID}, list)
	_, err = f.c.Device(t.Context(), "1:1@s.whatsapp.net", owner())
	require.ErrorIs(t, err, devices.ErrNotFound)
}

func testDeleted(t *testing.T, f *fixture) {
	d := f.open(t)
	const other = "15550001:40@s.whatsapp.net" // its address begins like the first one's
	f.pair(t, other, devices.Owner{Account: "bert"})
	for _, d := range []*devices.Device{d, f.loadAs(t, other)} {
		require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "1:0", []byte("s")))
		require.NoError(t, d.Store.Identities.PutIdentity(t.Context(), "1:0", [32]byte{1}))
		_, err := d.Store.PreKeys.GenOnePreKey(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, d.Store.Delete(t.Context()))
	_, err := f.c.Device(t.Context(), JID, owner())
	require.ErrorIs(t, err, devices.ErrNotFound)
	require.NoError(t, f.c.Delete(t.Context(), JID, owner()), "it is gone already")
	list, err := f.c.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{other}, list)

	// One that is paired under the same address begins with nothing.
	d = f.open(t)
	got, err := d.Store.Sessions.GetSession(t.Context(), "1:0")
	require.NoError(t, err)
	require.Nil(t, got)
	n, err := d.Store.PreKeys.UploadedPreKeyCount(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	got, err = f.loadAs(t, other).Store.Sessions.GetSession(t.Context(), "1:0")
	require.NoError(t, err)
	require.Equal(t, "s", string(got), "another device's")
	require.NoError(t, f.c.Delete(t.Context(), other, devices.Owner{Account: "bert"}))
}

func (f *fixture) loadAs(t *testing.T, jid string) *devices.Device {
	t.Helper()
	d, err := f.c.Device(t.Context(), jid, devices.Owner{Account: "bert"})
	require.NoError(t, err)
	return d
}

func testIdentities(t *testing.T, f *fixture) {
	d := f.open(t)
	ids := d.Store.Identities
	one, two := [32]byte{1}, [32]byte{2}
	trusted := func(d *devices.Device, address string, key [32]byte) bool {
		ok, err := d.Store.Identities.IsTrustedIdentity(t.Context(), address, key)
		require.NoError(t, err)
		return ok
	}
	require.True(t, trusted(d, "1:0", one), "unknown")
	for _, a := range []string{"1:0", "1:2", "11:0", "1_1:0"} {
		require.NoError(t, ids.PutIdentity(t.Context(), a, one))
		require.NoError(t, ids.PutIdentity(t.Context(), a, one))
	}
	d = f.both(t, d, func(d *devices.Device) {
		require.True(t, trusted(d, "1:0", one))
		require.False(t, trusted(d, "1:0", two))
	})
	ids = d.Store.Identities
	require.NoError(t, ids.PutIdentity(t.Context(), "1:0", two))
	require.NoError(t, ids.DeleteIdentity(t.Context(), "1:2"))
	d = f.both(t, d, func(d *devices.Device) {
		require.True(t, trusted(d, "1:0", two))
		require.True(t, trusted(d, "1:2", two), "deleted")
	})
	require.NoError(t, d.Store.Identities.DeleteAllIdentities(t.Context(), "1"))
	f.both(t, d, func(d *devices.Device) {
		require.True(t, trusted(d, "1:0", one), "deleted")
		require.False(t, trusted(d, "11:0", two), "another user's")
		require.False(t, trusted(d, "1_1:0", two), "another kind of address")
	})
}

func testSessions(t *testing.T, f *fixture) {
	d := f.open(t)
	check := func(d *devices.Device, want map[string]string) {
		t.Helper()
		var all []string
		for a := range want {
			all = append(all, a)
		}
		many, err := d.Store.Sessions.GetManySessions(t.Context(), all)
		require.NoError(t, err)
		require.Len(t, many, len(want), "one entry for each")
		for a, w := range want {
			got, err := d.Store.Sessions.GetSession(t.Context(), a)
			require.NoError(t, err)
			require.Equal(t, w, string(got), a)
			require.Equal(t, w, string(many[a]), a)
			has, err := d.Store.Sessions.HasSession(t.Context(), a)
			require.NoError(t, err)
			require.Equal(t, w != "", has, a)
		}
	}
	check(d, map[string]string{"1:0": "", "2:0": ""})
	require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "1:0", []byte("a")))
	require.NoError(t, d.Store.Sessions.PutManySessions(t.Context(), map[string][]byte{"1:0": []byte("b"), "1:3": []byte("c"), "12:0": []byte("d"), "1_1:0": []byte("e")}))
	d = f.both(t, d, func(d *devices.Device) {
		check(d, map[string]string{"1:0": "b", "1:3": "c", "12:0": "d", "1_1:0": "e", "2:0": ""})
	})
	require.NoError(t, d.Store.Sessions.DeleteSession(t.Context(), "12:0"))
	require.NoError(t, d.Store.Sessions.DeleteSession(t.Context(), "12:0"))
	require.NoError(t, d.Store.Sessions.DeleteAllSessions(t.Context(), "1"))
	d = f.both(t, d, func(d *devices.Device) {
		check(d, map[string]string{"1:0": "", "1:3": "", "12:0": "", "1_1:0": "e"})
	})
	require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "12:0", []byte("f")))
	f.both(t, d, func(d *devices.Device) { check(d, map[string]string{"12:0": "f"}) })
}

// testModel compares random calls with a map.
func testModel(t *testing.T, f *fixture) {
	d := f.open(t)
	rapid.Check(t, func(r *rapid.T) {
		model := map[string]string{}
		require.NoError(t, d.Store.Sessions.DeleteAllSessions(t.Context(), "5"))
		require.NoError(t, d.Store.Sessions.DeleteAllSessions(t.Context(), "50"))
		address := rapid.SampledFrom([]string{"5:0", "5:1", "50:0"})
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				a, v := address.Draw(r, "a"), rapid.StringN(1, 8, -1).Draw(r, "v")
				require.NoError(r, d.Store.Sessions.PutSession(t.Context(), a, []byte(v)))
				model[a] = v
			},
			"delete": func(r *rapid.T) {
				a := address.Draw(r, "a")
				require.NoError(r, d.Store.Sessions.DeleteSession(t.Context(), a))
				delete(model, a)
			},
			"delete all": func(r *rapid.T) {
				require.NoError(r, d.Store.Sessions.DeleteAllSessions(t.Context(), "5"))
				delete(model, "5:0")
				delete(model, "5:1")
			},
			"decrypt": func(r *rapid.T) { modelTxn(t, r, d, model, address) },
			"reload":  func(*rapid.T) { d = f.load(t) },
			"": func(r *rapid.T) {
				got, err := d.Store.Sessions.GetManySessions(t.Context(), []string{"5:0", "5:1", "50:0"})
				require.NoError(r, err)
				for a, v := range got {
					require.Equal(r, model[a], string(v), a)
				}
			},
		})
	})
}

func testSenderKeys(t *testing.T, f *fixture) {
	d := f.open(t)
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), "g/1@g.us", "1:0", []byte("a")))
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), "g/1@g.us", "1:0", []byte("b")))
	require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), "g", "1:0", []byte("c")))
	f.both(t, d, func(d *devices.Device) {
		for k, want := range map[[2]string]string{{"g/1@g.us", "1:0"}: "b", {"g", "1:0"}: "c", {"g", "2:0"}: ""} {
			got, err := d.Store.SenderKeys.GetSenderKey(t.Context(), k[0], k[1])
			require.NoError(t, err)
			require.Equal(t, want, string(got), k)
		}
	})
}

func testMigration(t *testing.T, f *fixture) {
	d := f.open(t)
	pn, lid := types.NewJID("1", types.DefaultUserServer), types.NewJID("9", types.HiddenUserServer)
	for _, a := range []string{"1:0", "1:7", "12:0"} {
		require.NoError(t, d.Store.Sessions.PutSession(t.Context(), a, []byte("s"+a)))
		require.NoError(t, d.Store.Identities.PutIdentity(t.Context(), a, [32]byte{1}))
		require.NoError(t, d.Store.SenderKeys.PutSenderKey(t.Context(), "g", a, []byte("k"+a)))
	}
	check := func(d *devices.Device) {
		for a, want := range map[string]string{"1:0": "", "1:7": "", "12:0": "12:0", "9_1:0": "1:0", "9_1:7": "1:7"} {
			s, err := d.Store.Sessions.GetSession(t.Context(), a)
			require.NoError(t, err)
			k, err := d.Store.SenderKeys.GetSenderKey(t.Context(), "g", a)
			require.NoError(t, err)
			other, err := d.Store.Identities.IsTrustedIdentity(t.Context(), a, [32]byte{2})
			require.NoError(t, err)
			require.Equal(t, want == "", other, "identity of %s", a)
			if want == "" {
				require.Nil(t, s, a)
				require.Nil(t, k, a)
			} else {
				require.Equal(t, "s"+want, string(s))
				require.Equal(t, "k"+want, string(k))
			}
		}
	}
	for range 2 {
		require.NoError(t, d.Store.Sessions.MigratePNToLID(t.Context(), pn, lid))
		check(d)
		d = f.again(t)
		check(d)
	}
	require.NoError(t, d.Store.Sessions.MigratePNToLID(t.Context(), pn, lid))
	f.both(t, d, check)
}

func ids(all []*keys.PreKey) (out []uint32) {
	for _, k := range all {
		out = append(out, k.KeyID)
	}
	return out
}

func testPreKeys(t *testing.T, f *fixture) {
	d := f.open(t)
	made, err := d.Store.PreKeys.GetOrGenPreKeys(t.Context(), 12)
	require.NoError(t, err)
	require.Len(t, made, 12)
	require.IsIncreasing(t, ids(made))
	d = f.both(t, d, func(d *devices.Device) {
		same, err := d.Store.PreKeys.GetOrGenPreKeys(t.Context(), 12)
		require.NoError(t, err)
		require.Equal(t, ids(made), ids(same), "they were not uploaded")
		few, err := d.Store.PreKeys.GetOrGenPreKeys(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, ids(made)[:3], ids(few))
		k, err := d.Store.PreKeys.GetPreKey(t.Context(), made[4].KeyID)
		require.NoError(t, err)
		require.Equal(t, made[4].Priv, k.Priv)
		require.Equal(t, made[4].Pub, k.Pub)
	})
	require.NoError(t, d.Store.PreKeys.MarkPreKeysAsUploaded(t.Context(), made[9].KeyID))
	require.NoError(t, d.Store.PreKeys.RemovePreKey(t.Context(), made[0].KeyID))
	require.NoError(t, d.Store.PreKeys.RemovePreKey(t.Context(), 4711), "there is none")
	single, err := d.Store.PreKeys.GenOnePreKey(t.Context())
	require.NoError(t, err)
	require.Greater(t, single.KeyID, made[11].KeyID)
	d = f.both(t, d, func(d *devices.Device) {
		n, err := d.Store.PreKeys.UploadedPreKeyCount(t.Context())
		require.NoError(t, err)
		require.Equal(t, 9+1, n)
		for _, id := range []uint32{made[0].KeyID, 4711} {
			k, err := d.Store.PreKeys.GetPreKey(t.Context(), id)
			require.NoError(t, err)
			require.Nil(t, k)
		}
	})
	next, err := d.Store.PreKeys.GetOrGenPreKeys(t.Context(), 4)
	require.NoError(t, err)
	require.IsIncreasing(t, ids(next))
	require.Equal(t, ids(made)[10:], ids(next)[:2])
	require.Greater(t, next[2].KeyID, single.KeyID)
}

func testPreKeysAtOnce(t *testing.T, f *fixture) {
	d := f.open(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[uint32]bool{}
	for range 8 {
		wg.Go(func() {
			k, err := d.Store.PreKeys.GenOnePreKey(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			if seen[k.KeyID] {
				t.Errorf("prekey %d twice", k.KeyID)
			}
			seen[k.KeyID] = true
		})
	}
	wg.Wait()
	require.Len(t, seen, 8)
}

func testPreKeyCounter(t *testing.T, f *fixture) {
	d := f.open(t)
	k, err := d.Store.PreKeys.GenOnePreKey(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Store.PreKeys.RemovePreKey(t.Context(), k.KeyID))
	next, err := f.again(t).Store.PreKeys.GenOnePreKey(t.Context())
	require.NoError(t, err)
	require.Greater(t, next.KeyID, k.KeyID)
}

func testLIDs(t *testing.T, f *fixture) {
	d := f.open(t)
	pn := func(s string) types.JID { return types.NewJID(s, types.DefaultUserServer) }
	lid := func(s string) types.JID { return types.NewJID(s, types.HiddenUserServer) }
	check := func(d *devices.Device, want map[string]string) {
		t.Helper()
		var pns []types.JID
		for p, l := range want {
			pns = append(pns, pn(p))
			got, err := d.Store.LIDs.GetLIDForPN(t.Context(), pn(p))
			require.NoError(t, err)
			require.Equal(t, l, got.User, p)
			if l != "" {
				back, err := d.Store.LIDs.GetPNForLID(t.Context(), types.JID{User: l, Device: 3, Server: types.HiddenUserServer})
				require.NoError(t, err)
				require.Equal(t, types.JID{User: p, Device: 3, Server: types.DefaultUserServer}, back)
			}
		}
		many, err := d.Store.LIDs.GetManyLIDsForPNs(t.Context(), append(pns, lid("1")))
		require.NoError(t, err)
		for p, l := range want {
			require.Equal(t, l, many[pn(p)].User, p)
		}
	}
	check(d, map[string]string{"1": "", "2": ""})
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), lid("91"), pn("1")))
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), lid("91"), pn("1")))
	var more []store.LIDMapping
	want := map[string]string{"1": "91"}
	for i := range 20 {
		p := fmt.Sprint(200 + i)
		more = append(more, store.LIDMapping{LID: lid("9" + p), PN: pn(p)})
		want[p] = "9" + p
	}
	more = append(more, store.LIDMapping{LID: pn("5"), PN: pn("6")}) // left out
	require.NoError(t, d.Store.LIDs.PutManyLIDMappings(t.Context(), more))
	want["6"] = ""
	d = f.both(t, d, func(d *devices.Device) { check(d, want) })
	// A number changes hands, and a user changes the number.
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), lid("95"), pn("1")))
	require.NoError(t, d.Store.LIDs.PutLIDMapping(t.Context(), lid("9200"), pn("7")))
	f.both(t, d, func(d *devices.Device) { check(d, map[string]string{"1": "95", "7": "9200"}) })
	got, err := f.again(t).Store.LIDs.GetLIDForPN(t.Context(), pn("200"))
	require.NoError(t, err)
	require.True(t, got.IsEmpty(), "a LID has one number")
	require.False(t, strings.Contains(got.String(), "9200"))
}
