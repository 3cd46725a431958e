package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type leaseDoc struct {
	Name  string     `bson:"_id"`
	Owner string     `bson:"owner"` // "" while it is free
	Epoch int64      `bson:"epoch"`
	Until *time.Time `bson:"until"`
	Op    string     `bson:"op"`
}

// AcquireLease implements store.Leases. Whether a lease ran out is judged by this
// process's clock: hubs on one database keep their clocks together (NTP). One that runs
// ahead takes a lease too early; the epoch keeps the former owner's writes out then.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	l, err := s.acquireLease(ctx, name, owner, ttl)
	if err != nil {
		return store.Lease{}, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return l, nil
}

func (s *Store) acquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	x, err := findOne[leaseDoc](ctx, s, collLeases, byID(name), options.FindOne())
	there := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Lease{}, err
	}
	live := there && x.Owner != "" && x.Until != nil && x.Until.After(s.now())
	if live && x.Owner != owner {
		return store.Lease{}, store.ErrStale
	}
	next := leaseDoc{Name: name, Owner: owner, Epoch: x.Epoch, Until: stamp(s.now().Add(ttl)), Op: s.pos.next()}
	if !live {
		next.Epoch++
	}
	if !there {
		err = s.insertOnce(ctx, collLeases, name, "op", next.Op, next)
		if errors.Is(err, store.ErrExists) {
			err = store.ErrStale
		}
	} else {
		var done bool
		if done, err = s.swap(ctx, collLeases, name, x.Op, next.Op, next); err == nil && !done {
			err = store.ErrStale // another was faster
		}
	}
	if err != nil {
		return store.Lease{}, err
	}
	if !live {
		// Between two leases another process may have written what this one remembers.
		s.lanes.forget()
		s.aliases.forget()
	}
	return store.Lease{Name: name, Owner: owner, Epoch: unsigned(next.Epoch), Until: back(next.Until)}, nil
}

// RenewLease implements store.Leases. An expired lease that nobody took can be renewed.
func (s *Store) RenewLease(ctx context.Context, l store.Lease, ttl time.Duration) (store.Lease, error) {
	until := stamp(s.now().Add(ttl))
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		res, err := s.coll(collLeases).UpdateOne(ctx, held(l), doc(set(el("until", until), el("op", s.pos.next()))))
		if err == nil && res.MatchedCount == 0 {
			err = store.ErrStale
		}
		return err
	})
	if err != nil {
		return store.Lease{}, fmt.Errorf("renew lease %s: %w", l.Name, err)
	}
	l.Until = back(until)
	return l, nil
}

// RenewLeases implements store.Leases: one round trip, unless some were lost.
func (s *Store) RenewLeases(ctx context.Context, ls []store.Lease, ttl time.Duration) ([]store.Lease, error) {
	if len(ls) == 0 {
		return nil, nil
	}
	until, op := stamp(s.now().Add(ttl)), s.pos.next()
	updates, names := make([]bulkUpdate, len(ls)), make([]string, len(ls))
	for i, l := range ls {
		names[i] = l.Name
		updates[i] = bulkUpdate{filter: held(l), update: doc(set(el("until", until), el("op", op)))}
	}
	matched, err := s.updateAll(ctx, collLeases, updates)
	mine := map[string]bool{}
	if err == nil && int(matched) < len(ls) {
		var rows []leaseDoc
		rows, err = findAll[leaseDoc](ctx, s, collLeases, doc(el("_id", in(names))), find().SetProjection(doc(el("op", 1))))
		for _, r := range rows {
			mine[r.Name] = r.Op == op
		}
	}
	if err != nil {
		return nil, fmt.Errorf("renew leases: %w", err)
	}
	kept := make([]store.Lease, 0, len(ls))
	for _, l := range ls {
		if l.Until = back(until); int(matched) == len(ls) || mine[l.Name] {
			kept = append(kept, l)
		}
	}
	return kept, nil
}

// ReleaseLease implements store.Leases.
func (s *Store) ReleaseLease(ctx context.Context, l store.Lease) error {
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collLeases).UpdateOne(ctx, held(l), s.freed())
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// ListLeases implements store.Leases. What has run out is judged by this process's clock.
func (s *Store) ListLeases(ctx context.Context, prefix string) ([]store.Lease, error) {
	all, err := findAll[leaseDoc](ctx, s, collLeases, doc(el("_id", doc(el("$gte", prefix), el("$lt", prefix+"\U0010ffff")))),
		find().SetSort(doc(el("_id", 1))))
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	var out []store.Lease
	for _, x := range all {
		if x.Owner != "" && x.Until != nil && x.Until.After(s.now()) {
			out = append(out, store.Lease{Name: x.Name, Owner: x.Owner, Epoch: unsigned(x.Epoch), Until: back(x.Until)})
		}
	}
	return out, nil
}

// voidLeases frees what an owner holds that is dead.
func (s *Store) voidLeases(ctx context.Context, owner string) error {
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collLeases).UpdateMany(ctx, doc(el("owner", owner)), s.freed())
		return err
	})
}

// held is a lease that is still as l says.
func held(l store.Lease) bson.D {
	return doc(el("_id", l.Name), el("owner", l.Owner), el("epoch", number(l.Epoch)))
}

// freed is the update that frees a lease.
func (s *Store) freed() bson.D {
	return doc(set(el("owner", ""), el("until", nil), el("op", s.pos.next())))
}
