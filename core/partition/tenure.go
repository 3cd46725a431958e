package partition

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// Leased says whether this hub may deliver of a partition under an epoch: until the lease ends
// by this machine's clock, unless it was let go of before. It asks no database, and so is true
// only for what begins now: whoever is stopped between asking and writing is kept out by the epoch.
func (k *Keeper) Leased(partition int, epoch uint64) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	t, ok := k.held[partition]
	return ok && t.lease.Epoch == epoch && t.lasts(k.deps.Clock.Now(), 0)
}

// Holder names the hub that has a partition, as of a moment ago; "" for none.
func (k *Keeper) Holder(partition int) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t, ok := k.held[partition]; ok && !t.ceding {
		return k.cfg.Instance
	}
	if who := k.holders[partition]; who != k.cfg.Instance {
		return who
	}
	return ""
}

// Holdings are the partitions that each hub holds, by the hub's name, in order.
func (k *Keeper) Holdings(ctx context.Context) (map[string][]int, error) {
	leases, err := k.deps.Store.ListLeases(ctx, store.PartitionLeases)
	if err != nil {
		return nil, err
	}
	owner, out := owners(leases), map[string][]int{}
	for p := range store.Partitions {
		if owner[p] != "" {
			out[owner[p]] = append(out[owner[p]], p)
		}
	}
	return out, nil
}

// owners are who holds which partition.
func owners(leases []store.Lease) (by [store.Partitions]string) {
	names := map[string]string{}
	for _, l := range leases {
		names[l.Name] = l.Owner
	}
	for p := range by {
		by[p] = names[store.PartitionLease(p)]
	}
	return by
}

func (k *Keeper) count() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.held)
}

// take takes a partition if it is free. Errors wrap store.ErrStale if it is not.
func (k *Keeper) take(ctx context.Context, p int) error {
	asked := k.deps.Clock.Now()
	l, err := k.deps.Store.AcquireLease(ctx, store.PartitionLease(p), k.cfg.Instance, k.cfg.Lease)
	if err != nil {
		return err
	}
	t := tenure{lease: l, end: asked.Add(k.cfg.Lease)}
	k.mu.Lock()
	if !t.lasts(k.deps.Clock.Now(), k.cfg.margin()) { // the answer took too long
		k.barred[p] = l.Until
		k.mu.Unlock()
		return nil
	}
	delete(k.barred, p)
	k.held[p] = t
	k.mu.Unlock()
	k.log.Info("partition is taken", "partition", p, "epoch", l.Epoch, "until", l.Until)
	k.metrics.leases.WithLabelValues("taken").Inc()
	k.deps.Own(p, l.Epoch)
	return nil
}

// renewAll renews all leases if it is time, and returns when that was last done.
func (k *Keeper) renewAll(ctx context.Context, last time.Time) time.Time {
	asked := k.deps.Clock.Now()
	if asked.Sub(last) < k.cfg.renew() {
		return last
	}
	var ls []store.Lease
	of := map[string]int{}
	k.mu.RLock()
	for p, t := range k.held {
		// One that has run out is let go of, even if nobody took it: what this hub knows of
		// its deliveries is as old as the lease.
		if !t.ceding && t.lasts(asked, 0) {
			ls, of[t.lease.Name] = append(ls, t.lease), p
		}
	}
	k.mu.RUnlock()
	if len(ls) == 0 {
		return asked
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.renew())
	defer cancel()
	kept, err := k.deps.Store.RenewLeases(ctx, ls, k.cfg.Lease)
	if err != nil {
		k.log.Warn("partitions' leases were not renewed", "count", len(ls), "err", err)
		return last
	}
	var still []int
	for _, l := range kept {
		p := of[l.Name]
		k.mu.Lock()
		if t, ok := k.held[p]; ok && t.lease.Epoch == l.Epoch && !t.ceding {
			k.held[p] = tenure{lease: l, end: asked.Add(k.cfg.Lease)}
			still = append(still, p)
		}
		k.mu.Unlock()
		delete(of, l.Name)
	}
	if len(still) > 0 {
		k.log.Debug("partitions' leases are renewed", "partitions", still, "until", kept[0].Until)
	}
	for _, l := range ls {
		if p, lost := of[l.Name]; lost {
			k.lost(p, l.Epoch)
		}
	}
	return asked
}

// expire lets go of what ends soon and could not be renewed, or has ended unnoticed since the
// process was stopped.
func (k *Keeper) expire() {
	now := k.deps.Clock.Now()
	var ends []int
	k.mu.RLock()
	for p, t := range k.held {
		if !t.ceding && !t.lasts(now, k.cfg.margin()) {
			ends = append(ends, p)
		}
	}
	k.mu.RUnlock()
	for _, p := range ends {
		k.letGo(p, "ran_out")
	}
}

// lost lets go of a partition that another hub has taken.
func (k *Keeper) lost(p int, epoch uint64) {
	k.mu.Lock()
	t, ok := k.held[p]
	if ok = ok && t.lease.Epoch == epoch && !t.ceding; ok {
		t.end = time.Time{} // from this moment on nothing is written
		k.held[p] = t
	}
	k.mu.Unlock()
	if ok {
		k.letGo(p, "lost")
	}
}

// cede gives a partition back.
func (k *Keeper) cede(p int) { k.letGo(p, "let_go") }

// letGo ends a tenure, in the background: what is under way is brought to an end while the
// lease still keeps others away, then it is given back. Repeating it changes nothing.
func (k *Keeper) letGo(p int, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.held[p]
	if !ok || t.ceding {
		return
	}
	t.ceding = true
	k.held[p] = t
	k.work.Go(func() { k.finish(p, t, why) })
}

func (k *Keeper) finish(p int, t tenure, why string) {
	left := t.lease.Until.Sub(k.deps.Clock.Now())
	if t.end.IsZero() {
		left = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(cedeTimeout, left))
	err := k.deps.Disown(ctx, p)
	cancel()
	if err != nil {
		k.log.Warn("deliveries were under way while a partition was let go of: they may be repeated", "partition", p, "err", err)
	}
	k.mu.Lock()
	delete(k.held, p)
	k.barred[p] = t.lease.Until
	k.mu.Unlock()
	k.metrics.leases.WithLabelValues(why).Inc()
	if why == "let_go" {
		k.log.Info("partition is let go", "partition", p, "epoch", t.lease.Epoch)
	} else {
		k.log.Error("partition is let go", "partition", p, "epoch", t.lease.Epoch, "reason", why)
		return // the lease is another's, or runs out by itself
	}
	ctx, cancel = context.WithTimeout(context.Background(), k.cfg.renew())
	defer cancel()
	if err := k.deps.Store.ReleaseLease(ctx, t.lease); err != nil {
		k.log.Warn("partition's lease was not given back", "partition", p, "err", err)
		return
	}
	k.mu.Lock()
	delete(k.barred, p)
	k.mu.Unlock()
}
