// Package rows names the form in which device keys are moved between engines: the rows of
// whatsmeow's own SQL tables (store/sqlstore/upgrades, version 11). It owns no storage.
package rows

// Table is one table, each after those that it refers to.
type Table struct {
	// Name is without whatsmeow's prefix.
	Name string
	// Columns are in the order of a Row. The first is the device's own address, but for
	// the table LIDs, which belongs to no device.
	Columns []string
	// Key is how many columns, from the first, tell the rows apart.
	Key int
}

// The tables' names.
const (
	Device     = "device"
	Identities = "identity_keys"
	PreKeys    = "pre_keys"
	Sessions   = "sessions"
	SenderKeys = "sender_keys"
	SyncKeys   = "app_state_sync_keys"
	States     = "app_state_version"
	MACs       = "app_state_mutation_macs"
	Contacts   = "contacts"
	Chats      = "chat_settings"
	Secrets    = "message_secrets"
	Tokens     = "privacy_tokens"
	Events     = "event_buffer"
	LIDs       = "lid_map"
)

// Row is a row's values: string, []byte, int64 or bool. A null text is "", no bytes are
// nil.
type Row []any

// Str is column i as text, Bytes as bytes, Int as a number, Bool as a truth.
func (r Row) Str(i int) string { s, _ := r[i].(string); return s }

// Bytes is column i as bytes.
func (r Row) Bytes(i int) []byte { b, _ := r[i].([]byte); return b }

// Int is column i as a number.
func (r Row) Int(i int) int64 { n, _ := r[i].(int64); return n }

// Bool is column i as a truth.
func (r Row) Bool(i int) bool { b, _ := r[i].(bool); return b }

// Tables returns all tables. Of mutation MACs only the latest of each index count, and of
// buffered events those that have not expired.
func Tables() []Table {
	return []Table{
		{Device, []string{
			"jid", "lid", "facebook_uuid", "registration_id", "noise_key", "identity_key", "signed_pre_key", "signed_pre_key_id",
			"signed_pre_key_sig", "adv_key", "adv_details", "adv_account_sig", "adv_account_sig_key", "adv_device_sig", "platform",
			"business_name", "push_name", "lid_migration_ts",
		}, 1},
		{Identities, []string{"our_jid", "their_id", "identity"}, 2},
		{PreKeys, []string{"jid", "key_id", "key", "uploaded"}, 2},
		{Sessions, []string{"our_jid", "their_id", "session"}, 2},
		{SenderKeys, []string{"our_jid", "chat_id", "sender_id", "sender_key"}, 3},
		{SyncKeys, []string{"jid", "key_id", "key_data", "timestamp", "fingerprint"}, 2},
		{States, []string{"jid", "name", "version", "hash"}, 2},
		{MACs, []string{"jid", "name", "version", "index_mac", "value_mac"}, 4},
		{Contacts, []string{"our_jid", "their_jid", "first_name", "full_name", "push_name", "business_name", "redacted_phone"}, 2},
		{Chats, []string{"our_jid", "chat_jid", "muted_until", "pinned", "archived"}, 2},
		{Secrets, []string{"our_jid", "chat_jid", "sender_jid", "message_id", "key"}, 4},
		{Tokens, []string{"our_jid", "their_jid", "token", "timestamp"}, 2},
		{Events, []string{"our_jid", "ciphertext_hash", "plaintext", "server_timestamp", "insert_timestamp"}, 2},
		{LIDs, []string{"lid", "pn"}, 1},
	}
}
