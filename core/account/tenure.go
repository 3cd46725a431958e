package account

import (
	"sync"

	"github.com/wildcathub/wildcat/core/store"
)

// tenures are the leases that this hub holds, to be asked about from any goroutine.
type tenures struct {
	mu sync.RWMutex
	by map[string]store.Lease // by account
}

func (t *tenures) set(account string, l store.Lease) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.Epoch == 0 {
		delete(t.by, account)
		return
	}
	t.by[account] = l
}

func (t *tenures) of(account string) store.Lease {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.by[account]
}

// Leased says whether this hub may act for an account under an epoch: until its lease ends by
// this machine's clock, unless it was let go before. It asks no database, and so is true only
// for what begins now: whoever is stopped between asking and writing is kept out by the epoch.
// Without other hubs there is nobody to take the account, and it is always true.
func (m *Manager) Leased(account string, epoch uint64) bool {
	if !m.cfg.Shared {
		return true
	}
	l := m.tenures.of(account)
	return l.Epoch != 0 && l.Epoch == epoch && m.deps.Clock.Now().Before(l.Until)
}

// Tenure returns the epoch under which this hub may act for an account at this moment, 0 if it
// may not. It asks no database.
func (m *Manager) Tenure(account string) uint64 {
	if epoch := m.tenures.of(account).Epoch; m.Leased(account, epoch) {
		return epoch
	}
	return 0
}

// overdue says that the lease has run out without the account's goroutine having noticed: the
// process was stopped, or starved. What it knows is then as old as the lease, so it is not
// renewed, even where nobody took it: the account is let go, and taken anew if it is free.
func (o *owner) overdue() bool {
	return o.m.cfg.Shared && !o.m.Leased(o.id, o.lease.Epoch)
}
