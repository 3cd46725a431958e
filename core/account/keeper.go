package account

import (
	"context"
	"errors"
	"sync"

	"github.com/wildcathub/wildcat/core/store"
)

// keeper keeps the lease of an account that other hubs may take, in a goroutine of its own: the
// account's may be waiting for a store that is slow, or for WhatsApp. Where the lease cannot be
// renewed it closes the connection in time, and ends whatever the account's goroutine waits for.
type keeper struct {
	o *owner
	// ctx is that of all that is done under the lease.
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	session *session // the connection to close
	over    bool
	lost    bool // another hub has the lease
}

// keep begins to renew the lease that is held.
func (o *owner) keep() {
	k := &keeper{o: o, done: make(chan struct{})}
	k.ctx, k.end = context.WithCancel(context.Background())
	o.keeper = k
	go k.run(o.lease)
}

// stop ends the renewing. Safe twice, and without a keeper.
func (k *keeper) stop() {
	if k == nil {
		return
	}
	k.end()
	<-k.done
}

func (k *keeper) run(l store.Lease) {
	defer close(k.done)
	m, log := k.o.m, k.o.log
	for pause := m.cfg.renew(); ; {
		select {
		case <-k.ctx.Done():
			return
		case <-m.deps.Clock.After(min(pause, l.Until.Sub(m.deps.Clock.Now())-m.cfg.margin())):
		}
		// The process may have been stopped: what it knows is then as old as the lease, which is
		// not renewed, even where nobody took it.
		left := l.Until.Sub(m.deps.Clock.Now()) - m.cfg.margin()
		if left <= 0 {
			log.Error("account's lease runs out, letting go of it")
			m.metrics.leases.WithLabelValues("ran_out").Inc()
			k.finish(false)
			return
		}
		ctx, cancel := context.WithTimeout(k.ctx, min(storeTimeout, m.cfg.renew(), left))
		fresh, err := m.deps.Store.RenewLease(ctx, l, m.cfg.ttl())
		cancel()
		switch {
		case k.ctx.Err() != nil:
			return
		case errors.Is(err, store.ErrStale):
			log.Error("account's lease was lost", "err", err)
			m.metrics.leases.WithLabelValues("lost").Inc()
			k.finish(true)
			return
		case err != nil:
			log.Warn("account's lease was not renewed", "err", err)
			m.storage.doubt()
			pause = m.cfg.look()
		default:
			l, pause = fresh, m.cfg.renew()
			m.tenures.set(k.o.id, l)
			log.Debug("account's lease is renewed", "epoch", l.Epoch, "until", l.Until)
		}
	}
}

// finish ends what is done under the lease, the connection first.
func (k *keeper) finish(lost bool) {
	k.mu.Lock()
	k.over, k.lost = true, lost
	s := k.session
	k.mu.Unlock()
	if lost { // from this moment on nothing is written
		k.o.m.tenures.set(k.o.id, store.Lease{})
	}
	k.end()
	s.cutOff()
}

// use names the connection that is held under the lease, nil for none.
func (k *keeper) use(s *session) {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.session = s
	over := k.over
	k.mu.Unlock()
	if over {
		s.cutOff()
	}
}

// ended is closed when the lease is not to be relied on any more; nil without a keeper.
func (k *keeper) ended() <-chan struct{} {
	if k == nil {
		return nil
	}
	return k.ctx.Done()
}

// finished says that the lease is not to be relied on any more.
func (k *keeper) finished() bool { return k != nil && k.ctx.Err() != nil }

// taken says that it is another hub's.
func (k *keeper) taken() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// cutOff begins to close a connection, and waits for nothing.
func (s *session) cutOff() {
	if s == nil {
		return
	}
	s.cancel()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.client.Close(now)
}
