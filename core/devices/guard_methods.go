package devices

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// Every method below makes the call through Device.call, which poisons the device if
// it fails. The few that do more are in guard.go.

func (g *guard) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	return g.d.call(ctx, "PutIdentity", func() error { return g.inner.PutIdentity(ctx, address, key) })
}

func (g *guard) DeleteAllIdentities(ctx context.Context, phone string) error {
	return g.d.call(ctx, "DeleteAllIdentities", func() error { return g.inner.DeleteAllIdentities(ctx, phone) })
}

func (g *guard) DeleteIdentity(ctx context.Context, address string) error {
	return g.d.call(ctx, "DeleteIdentity", func() error { return g.inner.DeleteIdentity(ctx, address) })
}

func (g *guard) IsTrustedIdentity(ctx context.Context, address string, key [32]byte) (bool, error) {
	return one(ctx, g.d, "IsTrustedIdentity", func() (bool, error) { return g.inner.IsTrustedIdentity(ctx, address, key) })
}

func (g *guard) GetSession(ctx context.Context, address string) ([]byte, error) {
	return one(ctx, g.d, "GetSession", func() ([]byte, error) { return g.inner.GetSession(ctx, address) })
}

func (g *guard) HasSession(ctx context.Context, address string) (bool, error) {
	return one(ctx, g.d, "HasSession", func() (bool, error) { return g.inner.HasSession(ctx, address) })
}

func (g *guard) PutSession(ctx context.Context, address string, session []byte) error {
	return g.d.call(ctx, "PutSession", func() error { return g.inner.PutSession(ctx, address, session) })
}

func (g *guard) DeleteAllSessions(ctx context.Context, phone string) error {
	return g.d.call(ctx, "DeleteAllSessions", func() error { return g.inner.DeleteAllSessions(ctx, phone) })
}

func (g *guard) DeleteSession(ctx context.Context, address string) error {
	return g.d.call(ctx, "DeleteSession", func() error { return g.inner.DeleteSession(ctx, address) })
}

func (g *guard) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	return g.d.call(ctx, "MigratePNToLID", func() error { return g.inner.MigratePNToLID(ctx, pn, lid) })
}

func (g *guard) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	return one(ctx, g.d, "GetOrGenPreKeys", func() ([]*keys.PreKey, error) { return g.inner.GetOrGenPreKeys(ctx, count) })
}

func (g *guard) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	return one(ctx, g.d, "GenOnePreKey", func() (*keys.PreKey, error) { return g.inner.GenOnePreKey(ctx) })
}

func (g *guard) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	return one(ctx, g.d, "GetPreKey", func() (*keys.PreKey, error) { return g.inner.GetPreKey(ctx, id) })
}

func (g *guard) RemovePreKey(ctx context.Context, id uint32) error {
	return g.d.call(ctx, "RemovePreKey", func() error { return g.inner.RemovePreKey(ctx, id) })
}

func (g *guard) MarkPreKeysAsUploaded(ctx context.Context, upToID uint32) error {
	return g.d.call(ctx, "MarkPreKeysAsUploaded", func() error { return g.inner.MarkPreKeysAsUploaded(ctx, upToID) })
}

func (g *guard) UploadedPreKeyCount(ctx context.Context) (int, error) {
	return one(ctx, g.d, "UploadedPreKeyCount", func() (int, error) { return g.inner.UploadedPreKeyCount(ctx) })
}

func (g *guard) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	return g.d.call(ctx, "PutAppStateSyncKey", func() error { return g.inner.PutAppStateSyncKey(ctx, id, key) })
}

func (g *guard) GetAppStateSyncKey(ctx context.Context, id []byte) (*store.AppStateSyncKey, error) {
	return one(ctx, g.d, "GetAppStateSyncKey", func() (*store.AppStateSyncKey, error) { return g.inner.GetAppStateSyncKey(ctx, id) })
}

func (g *guard) GetLatestAppStateSyncKeyID(ctx context.Context) ([]byte, error) {
	return one(ctx, g.d, "GetLatestAppStateSyncKeyID", func() ([]byte, error) { return g.inner.GetLatestAppStateSyncKeyID(ctx) })
}

func (g *guard) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	return g.d.call(ctx, "PutAppStateVersion", func() error { return g.inner.PutAppStateVersion(ctx, name, version, hash) })
}

func (g *guard) GetAppStateVersion(ctx context.Context, name string) (a uint64, b [128]byte, err error) {
	err = g.d.call(ctx, "GetAppStateVersion", func() error {
		a, b, err = g.inner.GetAppStateVersion(ctx, name)
		return err
	})
	return a, b, err
}

func (g *guard) DeleteAppStateVersion(ctx context.Context, name string) error {
	return g.d.call(ctx, "DeleteAppStateVersion", func() error { return g.inner.DeleteAppStateVersion(ctx, name) })
}

func (g *guard) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	return g.d.call(ctx, "PutAppStateMutationMACs", func() error { return g.inner.PutAppStateMutationMACs(ctx, name, version, mutations) })
}

func (g *guard) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	return g.d.call(ctx, "DeleteAppStateMutationMACs", func() error { return g.inner.DeleteAppStateMutationMACs(ctx, name, indexMACs) })
}

func (g *guard) GetAppStateMutationMAC(ctx context.Context, name string, indexMAC []byte) ([]byte, error) {
	return one(ctx, g.d, "GetAppStateMutationMAC", func() ([]byte, error) { return g.inner.GetAppStateMutationMAC(ctx, name, indexMAC) })
}

func (g *guard) PutPushName(ctx context.Context, user types.JID, pushName string) (a bool, b string, err error) {
	err = g.d.call(ctx, "PutPushName", func() error {
		a, b, err = g.inner.PutPushName(ctx, user, pushName)
		return err
	})
	return a, b, err
}

func (g *guard) PutBusinessName(ctx context.Context, user types.JID, businessName string) (a bool, b string, err error) {
	err = g.d.call(ctx, "PutBusinessName", func() error {
		a, b, err = g.inner.PutBusinessName(ctx, user, businessName)
		return err
	})
	return a, b, err
}

func (g *guard) PutContactName(ctx context.Context, user types.JID, fullName, firstName string) error {
	return g.d.call(ctx, "PutContactName", func() error { return g.inner.PutContactName(ctx, user, fullName, firstName) })
}

func (g *guard) PutAllContactNames(ctx context.Context, contacts []store.ContactEntry) error {
	return g.d.call(ctx, "PutAllContactNames", func() error { return g.inner.PutAllContactNames(ctx, contacts) })
}

func (g *guard) PutManyRedactedPhones(ctx context.Context, entries []store.RedactedPhoneEntry) error {
	return g.d.call(ctx, "PutManyRedactedPhones", func() error { return g.inner.PutManyRedactedPhones(ctx, entries) })
}

func (g *guard) GetContact(ctx context.Context, user types.JID) (types.ContactInfo, error) {
	return one(ctx, g.d, "GetContact", func() (types.ContactInfo, error) { return g.inner.GetContact(ctx, user) })
}

func (g *guard) GetAllContacts(ctx context.Context) (map[types.JID]types.ContactInfo, error) {
	return one(ctx, g.d, "GetAllContacts", func() (map[types.JID]types.ContactInfo, error) { return g.inner.GetAllContacts(ctx) })
}

func (g *guard) PutMutedUntil(ctx context.Context, chat types.JID, mutedUntil time.Time) error {
	return g.d.call(ctx, "PutMutedUntil", func() error { return g.inner.PutMutedUntil(ctx, chat, mutedUntil) })
}

func (g *guard) PutPinned(ctx context.Context, chat types.JID, pinned bool) error {
	return g.d.call(ctx, "PutPinned", func() error { return g.inner.PutPinned(ctx, chat, pinned) })
}

func (g *guard) PutArchived(ctx context.Context, chat types.JID, archived bool) error {
	return g.d.call(ctx, "PutArchived", func() error { return g.inner.PutArchived(ctx, chat, archived) })
}

func (g *guard) GetChatSettings(ctx context.Context, chat types.JID) (types.LocalChatSettings, error) {
	return one(ctx, g.d, "GetChatSettings", func() (types.LocalChatSettings, error) { return g.inner.GetChatSettings(ctx, chat) })
}

func (g *guard) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	return g.d.call(ctx, "PutMessageSecrets", func() error { return g.inner.PutMessageSecrets(ctx, inserts) })
}

func (g *guard) GetMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID) (a []byte, b types.JID, err error) {
	err = g.d.call(ctx, "GetMessageSecret", func() error {
		a, b, err = g.inner.GetMessageSecret(ctx, chat, sender, id)
		return err
	})
	return a, b, err
}

func (g *guard) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	return g.d.call(ctx, "PutPrivacyTokens", func() error { return g.inner.PutPrivacyTokens(ctx, tokens...) })
}

func (g *guard) PutBufferedEvent(ctx context.Context, ciphertextHash [32]byte, plaintext []byte, serverTimestamp time.Time) error {
	return g.d.call(ctx, "PutBufferedEvent", func() error { return g.inner.PutBufferedEvent(ctx, ciphertextHash, plaintext, serverTimestamp) })
}

func (g *guard) DeleteOldBufferedHashes(ctx context.Context) error {
	return g.d.call(ctx, "DeleteOldBufferedHashes", func() error { return g.inner.DeleteOldBufferedHashes(ctx) })
}

func (g *guard) PutManyLIDMappings(ctx context.Context, mappings []store.LIDMapping) error {
	return g.d.call(ctx, "PutManyLIDMappings", func() error { return g.lids.PutManyLIDMappings(ctx, mappings) })
}
