package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// usedEvery is how often the times of last use are written, at most.
const usedEvery = time.Minute

// lastFlush bounds the write when the hub stops.
const lastFlush = time.Second

// usage is when keys were last used: in memory, and now and then in the database. It is a
// help for people who tidy up, and no record: what a crash loses is at most a minute.
type usage struct {
	store store.KV
	now   func() time.Time

	mu    sync.Mutex
	times map[string]time.Time // since the last write
}

func newUsage(deps Deps) usage {
	return usage{store: deps.Store, now: deps.Now, times: map[string]time.Time{}}
}

func (u *usage) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.times[id] = at.UTC().Truncate(time.Second)
}

// all is what is stored, and what is not yet.
func (u *usage) all(ctx context.Context) (map[string]time.Time, error) {
	out, _, err := u.read(ctx)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	later(out, u.times)
	return out, nil
}

// later takes over the times that are later.
func later(into, from map[string]time.Time) {
	for id, at := range from {
		if at.After(into[id]) {
			into[id] = at
		}
	}
}

func (u *usage) read(ctx context.Context) (map[string]time.Time, []byte, error) {
	out := map[string]time.Time{}
	raw, err := u.store.GetKV(ctx, namespace, usedKey)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	} else if errors.Is(err, store.ErrNotFound) {
		return out, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read when API keys were used: %w", err)
	}
	return out, raw, nil
}

// flush writes what was noted, of keys that there still are. What could not be written is
// noted again.
func (u *usage) flush(ctx context.Context, exists func(id string) bool) (err error) {
	u.mu.Lock()
	fresh := u.times
	u.times = map[string]time.Time{}
	u.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	defer func() {
		if err != nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			later(u.times, fresh)
		}
	}()
	for range attempts {
		out, raw, err := u.read(ctx)
		if err != nil {
			return err
		}
		later(out, fresh)
		maps.DeleteFunc(out, func(id string, _ time.Time) bool { return !exists(id) })
		next, err := json.Marshal(out)
		if err == nil {
			err = u.store.SwapKV(ctx, namespace, usedKey, raw, next)
		}
		if !errors.Is(err, store.ErrStale) {
			return err
		}
	}
	return errors.New("write when API keys were used: others keep writing")
}

// Start begins to follow what other processes change, and to write when keys were used. Stop
// ends it.
func (r *Ring) Start() {
	written := r.deps.Now()
	base, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() {
		every := r.cfg.Every
		if !r.cfg.Shared {
			every = usedEvery
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		away := false
		for {
			select {
			case <-r.quit:
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(base, ioTimeout)
			if r.cfg.Shared {
				err := r.Refresh(ctx)
				if err != nil && !away && base.Err() == nil {
					r.log.Warn("API keys were not looked at: those that were known go on", "err", err)
				}
				away = err != nil
			}
			if now := r.deps.Now(); now.Sub(written) >= usedEvery && r.flush(ctx) == nil {
				written = now
			}
			cancel()
		}
	})
}

func (r *Ring) flush(ctx context.Context) error {
	known := *r.now.Load()
	err := r.used.flush(ctx, func(id string) bool { _, ok := known[id]; return ok })
	if err != nil {
		r.log.Debug("when API keys were used was not written", "err", err)
	}
	return err
}

// Stop ends what Start began, and writes when keys were used, if the database takes it at once:
// other parts have more to write while the hub stops. Safe without Start, and twice.
func (r *Ring) Stop(ctx context.Context) {
	r.once.Do(func() {
		close(r.quit)
		r.cancel()
		r.done.Wait()
		ctx, cancel := context.WithTimeout(ctx, lastFlush)
		defer cancel()
		_ = r.flush(ctx) // logged
	})
}
