package devicetest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

func (f *fixture) as(t *testing.T, epoch uint64) *devices.Device {
	t.Helper()
	d, err := f.place(t, devices.Deps{}).Device(t.Context(), JID, devices.Owner{Account: "anna", Epoch: epoch})
	require.NoError(t, err)
	return d
}

// writes are all calls that change keys. Each gets a device of its own, since the first
// failure poisons it.
func writes() map[string]func(context.Context, *store.Device) error {
	bob := user("1")
	lid := types.NewJID("9", types.HiddenUserServer)
	return map[string]func(context.Context, *store.Device) error{
		"PutSession of one that is there": func(ctx context.Context, s *store.Device) error {
			return s.Sessions.PutSession(ctx, "1:0", []byte("stale"))
		},
		"PutSession of a new one": func(ctx context.Context, s *store.Device) error {
			return s.Sessions.PutSession(ctx, "2:0", []byte("stale"))
		},
		"PutManySessions": func(ctx context.Context, s *store.Device) error {
			return s.Sessions.PutManySessions(ctx, map[string][]byte{"1:0": []byte("stale"), "3:0": []byte("stale")})
		},
		"DeleteSession":     func(ctx context.Context, s *store.Device) error { return s.Sessions.DeleteSession(ctx, "1:0") },
		"DeleteAllSessions": func(ctx context.Context, s *store.Device) error { return s.Sessions.DeleteAllSessions(ctx, "1") },
		"MigratePNToLID":    func(ctx context.Context, s *store.Device) error { return s.Sessions.MigratePNToLID(ctx, bob, lid) },
		"PutIdentity": func(ctx context.Context, s *store.Device) error {
			return s.Identities.PutIdentity(ctx, "1:0", [32]byte{7})
		},
		"DeleteIdentity": func(ctx context.Context, s *store.Device) error { return s.Identities.DeleteIdentity(ctx, "1:0") },
		"PutSenderKey": func(ctx context.Context, s *store.Device) error {
			return s.SenderKeys.PutSenderKey(ctx, "g", "1:0", []byte("stale"))
		},
		"GenOnePreKey": func(ctx context.Context, s *store.Device) error { _, err := s.PreKeys.GenOnePreKey(ctx); return err },
		"GetOrGenPreKeys": func(ctx context.Context, s *store.Device) error {
			_, err := s.PreKeys.GetOrGenPreKeys(ctx, 3)
			return err
		},
		"RemovePreKey": func(ctx context.Context, s *store.Device) error { return s.PreKeys.RemovePreKey(ctx, 1) },
		"MarkPreKeysAsUploaded": func(ctx context.Context, s *store.Device) error {
			return s.PreKeys.MarkPreKeysAsUploaded(ctx, 1000)
		},
		"PutAppStateSyncKey": func(ctx context.Context, s *store.Device) error {
			return s.AppStateKeys.PutAppStateSyncKey(ctx, []byte("k"), store.AppStateSyncKey{Timestamp: 9})
		},
		"PutAppState": func(ctx context.Context, s *store.Device) error {
			if err := s.AppState.PutAppStateVersion(ctx, "n", 1, [128]byte{}); err != nil {
				return err
			}
			return s.AppState.PutAppStateMutationMACs(ctx, "n", 1, nil)
		},
		"DeleteAppStateVersion": func(ctx context.Context, s *store.Device) error { return s.AppState.DeleteAppStateVersion(ctx, "n") },
		"PutPushName": func(ctx context.Context, s *store.Device) error {
			_, _, err := s.Contacts.PutPushName(ctx, bob, "stale")
			return err
		},
		"PutArchived": func(ctx context.Context, s *store.Device) error { return s.ChatSettings.PutArchived(ctx, bob, true) },
		"PutMessageSecret": func(ctx context.Context, s *store.Device) error {
			return s.MsgSecrets.PutMessageSecret(ctx, bob, bob, "1", []byte("stale"))
		},
		"PutPrivacyTokens": func(ctx context.Context, s *store.Device) error {
			return s.PrivacyTokens.PutPrivacyTokens(ctx, store.PrivacyToken{User: bob, Token: []byte("stale")})
		},
		"DoDecryptionTxn": func(ctx context.Context, s *store.Device) error {
			return s.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
				if err := s.Sessions.PutSession(ctx, "1:0", []byte("stale")); err != nil {
					return err
				}
				return s.EventBuffer.PutBufferedEvent(ctx, [32]byte{1}, []byte("stale"), time.Now())
			})
		},
		"PutDevice":    func(ctx context.Context, s *store.Device) error { s.PushName = "stale"; return s.Save(ctx) },
		"DeleteDevice": func(ctx context.Context, s *store.Device) error { return s.Container.DeleteDevice(ctx, s) },
	}
}

func testFence(t *testing.T, f *fixture) {
	f.pair(t, JID, devices.Owner{Account: "anna", Epoch: 3})
	seen := func(d *devices.Device) map[string]any {
		s := d.Store
		sessions, err := s.Sessions.GetManySessions(t.Context(), []string{"1:0", "2:0", "3:0", "9_1:0"})
		require.NoError(t, err)
		trusted, err := s.Identities.IsTrustedIdentity(t.Context(), "1:0", [32]byte{1})
		require.NoError(t, err)
		sender, err := s.SenderKeys.GetSenderKey(t.Context(), "g", "1:0")
		require.NoError(t, err)
		uploaded, err := s.PreKeys.UploadedPreKeyCount(t.Context())
		require.NoError(t, err)
		key, err := s.PreKeys.GetPreKey(t.Context(), 1)
		require.NoError(t, err)
		sync, err := s.AppStateKeys.GetLatestAppStateSyncKeyID(t.Context())
		require.NoError(t, err)
		version, _, err := s.AppState.GetAppStateVersion(t.Context(), "n")
		require.NoError(t, err)
		contacts, err := s.Contacts.GetAllContacts(t.Context())
		require.NoError(t, err)
		chat, err := s.ChatSettings.GetChatSettings(t.Context(), user("1"))
		require.NoError(t, err)
		secret, _, err := s.MsgSecrets.GetMessageSecret(t.Context(), user("1"), user("1"), "1")
		require.NoError(t, err)
		token, err := s.PrivacyTokens.GetPrivacyToken(t.Context(), user("1"))
		require.NoError(t, err)
		ev, err := s.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{1})
		require.NoError(t, err)
		return map[string]any{
			"sessions": sessions, "trusted": trusted, "sender": sender, "uploaded": uploaded, "key": key != nil, "sync": sync,
			"version": version, "contacts": contacts, "chat": chat, "secret": secret, "token": token, "event": ev, "name": s.PushName,
		}
	}
	first := f.as(t, 3)
	require.NoError(t, first.Store.Sessions.PutSession(t.Context(), "1:0", []byte("0")))
	require.NoError(t, first.Store.Identities.PutIdentity(t.Context(), "1:0", [32]byte{1}))
	_, err := first.Store.PreKeys.GetOrGenPreKeys(t.Context(), 2)
	require.NoError(t, err)
	epoch := uint64(3)
	for name, write := range writes() {
		stale := f.as(t, epoch)
		epoch++
		fresh := f.as(t, epoch)
		before := seen(fresh)
		require.NoError(t, stale.Failed())
		err := write(t.Context(), stale.Store)
		require.ErrorIs(t, err, devices.ErrFenced, name)
		require.ErrorIs(t, stale.Failed(), devices.ErrFenced, "%s: it is poisoned", name)
		after := seen(f.as(t, epoch))
		require.True(t, reflect.DeepEqual(before, after), "%s: %v, %v", name, before, after)
		require.NoError(t, fresh.Store.Sessions.PutSession(t.Context(), "1:0", []byte{byte(epoch)}))
	}
	_, err = f.place(t, devices.Deps{}).Device(t.Context(), JID, devices.Owner{Account: "anna", Epoch: 3})
	require.ErrorIs(t, err, devices.ErrFenced)
	require.ErrorIs(t, f.c.Delete(t.Context(), JID, devices.Owner{Account: "anna", Epoch: 3}), devices.ErrFenced)
	require.NoError(t, f.c.Delete(t.Context(), JID, devices.Owner{Account: "anna", Epoch: epoch}))
}

func testFenceOfDeleted(t *testing.T, f *fixture) {
	f.pair(t, JID, devices.Owner{Account: "anna", Epoch: 3})
	for name, write := range writes() {
		d, err := f.c.Device(t.Context(), JID, devices.Owner{Epoch: 3})
		require.NoError(t, err)
		require.NoError(t, f.c.Delete(t.Context(), JID, devices.Owner{Epoch: 3}))
		err = write(t.Context(), d.Store)
		if name != "DeleteDevice" && name != "DeleteAllSessions" && name != "MigratePNToLID" { // nothing is left to change
			require.ErrorIs(t, err, devices.ErrFenced, name)
		}
		_, err = f.c.Device(t.Context(), JID, devices.Owner{Epoch: 4})
		require.ErrorIs(t, err, devices.ErrNotFound)
		d = f.pair(t, JID, devices.Owner{Account: "anna", Epoch: 3})
		got, err := d.Store.Sessions.GetManySessions(t.Context(), []string{"1:0", "2:0", "3:0"})
		require.NoError(t, err)
		require.Equal(t, map[string][]byte{"1:0": nil, "2:0": nil, "3:0": nil}, got, name)
	}
}
