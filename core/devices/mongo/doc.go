// Package mongo keeps device keys on MongoDB: all of whatsmeow's stores, for several hubs
// on one database, each device used by one of them at a time. It owns the layout, the
// order of writes and the fence; it does not own the database's client, nor what is done
// when a call fails (package devices).
//
// # Layout
//
// The keys of an account's devices are in the collection auth_<account>, or the one that
// the account names. Every document's _id is a text that begins with the device's
// address, so that _id is the one index that all reads and uniqueness need:
//
//	fence/<device>                         the lease's epoch, see below
//	<device>/device                        identity and registration
//	<device>/counter                       n: the last prekey id given out
//	<device>/prekey/<id, 8 digits>         v: private key; n: 1 once uploaded
//	<device>/peer/<address>/session        v
//	<device>/peer/<address>/identity       v
//	<device>/peer/<address>/group/<group>  v: sender key
//	<device>/sync/<key id>                 v, print, n: timestamp
//	<device>/state/<name>                  n: version; v: hash
//	<device>/mac/<name>/<index>/<version>  v: value MAC; null: removed in this version
//	<device>/contact/<user>                names
//	<device>/chat/<chat>                   muted, pinned, archived
//	<device>/secret/<chat>/<sender>/<id>   v, sender
//	<device>/token/<user>                  v, n: timestamp
//	<device>/event/<hash>                  v: plaintext, null once handled; n, at: times
//
// What is deleted is marked gone, loses its value and expires (index "expires"), so that
// every change is an update and a bulk of them one command. Buffered events expire too,
// after 14 days. Two collections are shared by all accounts: devices (which device is in
// which collection) and lids (phone numbers and LIDs).
//
// # Order
//
// A decryption's writes are collected and then made in one ordered bulk: the plaintext
// into the buffer first, then sessions, identities and sender keys, the removal of a used
// prekey last. A crash in between leaves the plaintext where the redelivered message is
// looked up, or the session where it was.
//
// # Fence
//
// Who opens a device says under which epoch of the account's lease, and raises the fence
// to it. The first update of every bulk replaces the fence by itself, matching this
// epoch and inserting if nothing matches: with another epoch that is a duplicate key, at
// which an ordered bulk stops before it changed anything. So a hub that was stopped,
// lost its lease and was woken writes nothing, whether the documents it means exist
// already, were touched by the new owner, or not: a check in each document's own filter
// could not refuse an insert, nor a write to what the new owner has not written yet. It
// costs no round trip. What it leaves open is a server that halts within one command
// while the lease runs out; for that, and for an update that a broken connection
// delivers late, each document carries a stamp of epoch and time (s) that only grows:
// an older write finds none to match, and fails in the same way.
package mongo
