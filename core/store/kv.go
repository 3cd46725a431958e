package store

import (
	"context"
	"time"
)

// KV is a durable map per namespace ("hub", "connector/<name>", "rule/<name>").
type KV interface {
	// GetKV returns a value, or ErrNotFound if there is none or it has expired.
	GetKV(ctx context.Context, namespace, key string) ([]byte, error)
	// SetKV writes a value; nil deletes it. ttl 0 keeps it for ever.
	SetKV(ctx context.Context, namespace, key string, value []byte, ttl time.Duration) error
	// SwapKV writes value only if the current one equals old (nil: there is none); else ErrStale.
	SwapKV(ctx context.Context, namespace, key string, old, value []byte) error
}

// Lease is the right of one process to own something for a while.
type Lease struct {
	Name  string
	Owner string
	// Epoch grows with every change of owner, and fences later writes.
	Epoch uint64
	Until time.Time
}

// Leases grants leases. On SQLite the lock on the data folder proves that the
// predecessor is gone, so a lease is granted at once, with the next epoch.
type Leases interface {
	// AcquireLease takes a lease that is free, expired or the owner's own; ErrStale if another holds it.
	AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (Lease, error)
	// RenewLease prolongs it; ErrStale if it was lost.
	RenewLease(ctx context.Context, l Lease, ttl time.Duration) (Lease, error)
	// RenewLeases prolongs many in one durable write, all by their owner, and returns those
	// that were not lost.
	RenewLeases(ctx context.Context, ls []Lease, ttl time.Duration) ([]Lease, error)
	// ReleaseLease gives it up; success if it was lost.
	ReleaseLease(ctx context.Context, l Lease) error
	// ListLeases returns the leases that are held now and whose name begins with prefix, by name.
	ListLeases(ctx context.Context, prefix string) ([]Lease, error)
}
