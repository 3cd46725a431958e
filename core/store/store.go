// Package store is the seam between Wildcat and its database: the records, and
// small role interfaces over them, of which each consumer takes the one it needs.
// One conformance suite (storetest) holds every engine to the same behaviour.
//
// The package owns shapes and promises, not policy: what follows an event, when a
// delivery is tried again, or who owns an account is decided by its callers.
//
// Promises that every engine keeps:
//   - A write that returned nil survives a crash of the program and of the machine.
//   - Every write may be repeated: the same call again changes nothing and succeeds,
//     or fails with ErrStale or ErrExists.
//   - Writes that move a record's state are compare-and-set, and fenced by an epoch:
//     a writer whose epoch is lower than the record's gets ErrStale.
//   - Times are kept to the millisecond and come back in UTC; a limit of 0 or less means 100.
//   - Methods are safe for concurrent use. A cancelled context may leave a write done or not done.
package store

import (
	"context"
	"errors"
)

// Store is a whole engine.
type Store interface {
	Accounts
	Chats
	Events
	Messages
	Sends
	Deliveries
	Endpoints
	Webhooks
	Blobs
	KV
	Leases
	Transfer

	// Ping fails when the database cannot be reached or written.
	Ping(ctx context.Context) error
	// Close finishes what was accepted and releases the database. Safe twice.
	Close() error
}

// The errors that callers tell apart, always wrapped. Anything else is an outage:
// the write may or may not have happened and is to be repeated.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("not found")
	// ErrExists: a record with this id or unique key is already there.
	ErrExists = errors.New("already exists")
	// ErrStale: the record is no longer in the expected state, or a higher epoch has written it.
	ErrStale = errors.New("stale write")
	// ErrFull: the disk or quota is exhausted.
	ErrFull = errors.New("storage full")
	// ErrAway: the database does not answer. Whether a write was done is not known, unless
	// nothing was tried since that was known already.
	ErrAway = errors.New("the database is away")
	// ErrLocked: another process uses this data.
	ErrLocked = errors.New("data in use by another process")
	// ErrNewer: the data was written by a newer version of the program.
	ErrNewer = errors.New("data written by a newer version")
)
