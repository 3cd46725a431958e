package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// sharer sees to it that this hub has as many partitions as each other. Only one goroutine
// uses it.
type sharer struct {
	k *Keeper
	// failing is since when the store has not answered; zero if it does.
	failing time.Time
}

// lookTimeout is how long a look may take at least, all that is to be taken included.
const lookTimeout = 4 * time.Second

// instanceLeases is how the leases begin by which hubs say that they live.
const instanceLeases = "instance/"

// turn looks once. What fails is tried again with the next look.
func (s *sharer) turn(ctx context.Context) {
	k := s.k
	tctx, cancel := context.WithTimeout(ctx, max(k.cfg.renew(), lookTimeout))
	err := s.tend(tctx)
	cancel()
	switch {
	case err != nil && ctx.Err() == nil && s.failing.IsZero():
		s.failing = k.deps.Clock.Now()
		k.log.Warn("partitions of other hubs were not looked at", "err", err)
	case err == nil && !s.failing.IsZero():
		k.log.Info("partitions of other hubs are looked at again", "duration", k.deps.Clock.Now().Sub(s.failing))
		s.failing = time.Time{}
	}
}

// tend takes what is free and part of this hub's share, and gives away what is too much.
func (s *sharer) tend(ctx context.Context) error {
	k := s.k
	v, err := s.look(ctx)
	if err != nil {
		return err
	}
	if !v.lives[k.cfg.Instance] {
		return nil // the others do not count this hub, and whoever wants the database for himself does not see it
	}
	if !s.failing.IsZero() {
		return nil // the others were cut off, too, and are about to be back: they are not to find everything taken
	}
	take, give := v.plan(k.cfg.Instance)
	if take > 0 {
		return s.take(ctx, v, take)
	}
	// Those that this hub would take last.
	mine := v.mine
	slices.SortFunc(mine, func(a, b int) int { return cmp.Compare(k.rank(b), k.rank(a)) })
	for _, p := range mine[:give] {
		k.log.Info("partition is handed over to another hub", "partition", p)
		k.cede(p)
	}
	return nil
}

// view is who holds what.
type view struct {
	lives map[string]bool
	owner [store.Partitions]string
	mine  []int
	// free are those that this hub may try to take.
	free []int
}

func (s *sharer) look(ctx context.Context) (*view, error) {
	k := s.k
	lives, err := k.deps.Store.ListLeases(ctx, instanceLeases)
	if err != nil {
		return nil, fmt.Errorf("list hubs: %w", err)
	}
	leases, err := k.deps.Store.ListLeases(ctx, store.PartitionLeases)
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	v := &view{lives: map[string]bool{}, owner: owners(leases)}
	for _, l := range lives {
		v.lives[strings.TrimPrefix(l.Name, instanceLeases)] = true
	}
	now := k.deps.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holders = v.owner
	for p := range v.owner {
		t, held := k.held[p]
		switch {
		case held && !t.ceding:
			v.mine = append(v.mine, p)
		case held || !now.After(k.barred[p]):
		case v.owner[p] == "" || v.owner[p] == k.cfg.Instance: // asked for, and the answer was lost
			v.free = append(v.free, p)
		}
	}
	return v, nil
}

// plan says how many partitions a hub is to take, or else to give.
func (v *view) plan(self string) (take, give int) {
	holds := map[string]int{}
	for who := range v.lives {
		holds[who] = 0
	}
	for _, who := range v.owner {
		if v.lives[who] {
			holds[who]++
		}
	}
	// What this hub is giving away counts for the others still, and not for itself.
	part := store.Share(store.Partitions, holds, self)
	return min(max(part-len(v.mine), 0), len(v.free)), max(len(v.mine)-part, 0)
}

// take takes n of those that are free, several at a time.
func (s *sharer) take(ctx context.Context, v *view, n int) error {
	k := s.k
	// Each hub begins with others, so that two that see the same free ones seldom meet.
	slices.SortFunc(v.free, func(a, b int) int { return cmp.Compare(k.rank(a), k.rank(b)) })
	errs := make([]error, n)
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, p := range v.free[:n] {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			// Another may be faster: what is missing then is taken with the next look.
			if err := k.take(ctx, p); err != nil && !errors.Is(err, store.ErrStale) {
				errs[i] = fmt.Errorf("take partition %d: %w", p, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (k *Keeper) rank(p int) uint32 {
	f := fnv.New32a()
	_, _ = fmt.Fprintf(f, "%s\x00%d", k.cfg.Instance, p)
	return f.Sum32()
}
