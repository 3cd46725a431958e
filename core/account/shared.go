package account

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

// Several hubs on one database share its accounts: each holds about as many as any other,
// takes over those of a hub that died once its leases ran out, and gives some away when one
// joins. All that they know of each other is who holds which lease.
// sharedTTL is how long a hub that died keeps its accounts from others, unless it was chosen.
const sharedTTL = 12 * time.Second

const (
	accountLease  = "account/"
	instanceLease = "instance/"
)

// ErrElsewhere says that another hub on the same database has the account.
var ErrElsewhere = errors.New("account is held by another hub")

// share is what a hub does to have its part of the accounts.
type share struct {
	m     *Manager
	lease store.Lease // says that this hub lives
	// barred: it was found that no hub may use the database.
	barred bool
	quit   chan struct{}
	once   sync.Once
	done   chan struct{}
	work   sync.WaitGroup
}

// startSharing announces this hub, takes what is its part now, and keeps at it.
func (m *Manager) startSharing(ctx context.Context) (*share, error) {
	s := &share{m: m, quit: make(chan struct{}), done: make(chan struct{})}
	if err := s.live(ctx); err != nil {
		return nil, err
	}
	if err := s.tend(ctx); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

func (s *share) run() {
	defer close(s.done)
	renewed := s.m.deps.Clock.Now()
	var back time.Time
	for {
		weather := s.m.storage.changed()
		select {
		case <-s.quit:
			return
		case <-weather:
		case <-s.m.deps.Clock.After(s.m.cfg.look()):
		}
		if s.m.storage.outage() != nil || s.m.deps.Clock.Now().Sub(back) < s.m.cfg.look() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.m.cfg.renew())
		var err error
		if now := s.m.deps.Clock.Now(); now.Sub(renewed) >= s.m.cfg.renew() {
			lapsed := now.After(s.lease.Until)
			if err = s.live(ctx); err == nil {
				renewed = now
			}
			if errors.Is(err, errBarred) { // which is no fault of the store's
				cancel()
				s.m.log.Warn("takes no accounts", "err", err)
				back = now
				continue
			}
			if lapsed && err == nil {
				// The others were cut off, too, and are about to be back: whoever is first
				// must not take their part, only to give it away again.
				cancel()
				back = now
				continue
			}
		}
		if err == nil {
			err = s.tend(ctx)
		}
		cancel()
		if err != nil {
			s.m.storage.doubt()
			s.m.log.Warn("accounts of other hubs were not looked at", "err", err)
		}
	}
}

// live says that this hub lives. One whose announcement had run out is to those who want the
// database for themselves as one that comes.
func (s *share) live(ctx context.Context) error {
	if s.barred { // and would only disturb whoever has the database
		if err := s.allowed(ctx); err != nil {
			return fmt.Errorf("announce this hub: %w", err)
		}
	}
	lapsed := s.m.deps.Clock.Now().After(s.lease.Until)
	l, err := s.m.deps.Store.RenewLease(ctx, s.lease, s.m.cfg.ttl())
	if s.lease.Epoch == 0 || errors.Is(err, store.ErrStale) {
		l, err = s.m.deps.Store.AcquireLease(ctx, instanceLease+s.m.cfg.Instance, s.m.cfg.Instance, s.m.cfg.ttl())
		lapsed = true
	}
	if err == nil && lapsed {
		err = s.clear(ctx, l)
	}
	if err != nil {
		return fmt.Errorf("announce this hub: %w", err)
	}
	s.lease, s.barred = l, false
	return nil
}

// errBarred says that no hub may use the database.
var errBarred = errors.New("no hub may use the database")

// clear takes the announcement back if no hub may use the database.
func (s *share) clear(ctx context.Context, l store.Lease) error {
	err := s.allowed(ctx)
	if err != nil {
		err = errors.Join(err, s.m.deps.Store.ReleaseLease(ctx, l))
	}
	return err
}

// allowed fails with errBarred if no hub may use the database, as far as the store tells.
func (s *share) allowed(ctx context.Context) error {
	if s.m.deps.Clear == nil {
		return nil
	}
	err := s.m.deps.Clear(ctx)
	if err == nil || errors.Is(err, store.ErrAway) {
		return err
	}
	s.barred = true
	return fmt.Errorf("%w: %w", errBarred, err)
}

func (s *share) stop() {
	s.once.Do(func() { close(s.quit) })
	<-s.done
	s.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), s.m.cfg.renew())
	defer cancel()
	if err := s.m.deps.Store.ReleaseLease(ctx, s.lease); err != nil {
		s.m.log.Warn("this hub did not sign off", "err", err)
	}
}

// holdings is who has what.
type holdings struct {
	accounts []store.Account
	owner    map[string]string // by account
	count    map[string]int    // by hub that lives
	ours     map[string]*owner
}

func (s *share) look(ctx context.Context) (*holdings, error) {
	h := &holdings{owner: map[string]string{}, count: map[string]int{s.m.cfg.Instance: 0}}
	var err error
	if h.accounts, err = s.m.deps.Store.ListAccounts(ctx); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	lives, err := s.m.deps.Store.ListLeases(ctx, instanceLease)
	if err != nil {
		return nil, err
	}
	for _, l := range lives {
		h.count[l.Owner] += 0
	}
	held, err := s.m.deps.Store.ListLeases(ctx, accountLease)
	if err != nil {
		return nil, err
	}
	for _, l := range held {
		h.owner[strings.TrimPrefix(l.Name, accountLease)] = l.Owner
	}
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	h.ours = make(map[string]*owner, len(s.m.owners))
	for id, o := range s.m.owners {
		h.ours[id] = o
	}
	for _, a := range h.accounts {
		who, taken := h.owner[a.ID]
		if h.ours[a.ID] != nil {
			who, taken = s.m.cfg.Instance, true
		}
		if _, lives := h.count[who]; taken && lives {
			h.count[who]++
		}
	}
	return h, nil
}

// tend takes what is free and part of this hub's share, lets go of what was deleted
// elsewhere, and gives away what is too much.
func (s *share) tend(ctx context.Context) error {
	h, err := s.look(ctx)
	if err != nil {
		return err
	}
	s.m.unpark()
	there := make(map[string]bool, len(h.accounts))
	for _, a := range h.accounts {
		there[a.ID] = true
	}
	for id, o := range h.ours {
		if there[id] {
			continue
		}
		// It may have been created after the list was read.
		if _, err := s.m.deps.Store.Account(ctx, id); errors.Is(err, store.ErrNotFound) {
			s.m.log.Info("account was deleted by another hub", "account", id)
			s.cede(id, o)
		}
	}
	mine := h.count[s.m.cfg.Instance]
	part := store.Share(len(h.accounts), h.count, s.m.cfg.Instance)
	if mine < part {
		return s.take(ctx, h, part-mine)
	}
	s.give(h, mine-part)
	return nil
}

// take adopts up to n accounts that nobody holds.
func (s *share) take(ctx context.Context, h *holdings, n int) error {
	free := slices.DeleteFunc(slices.Clone(h.accounts), func(a store.Account) bool {
		return h.ours[a.ID] != nil || h.owner[a.ID] != "" && h.owner[a.ID] != s.m.cfg.Instance
	})
	// Each hub begins with others, so that two that see the same free ones seldom meet.
	slices.SortFunc(free, func(a, b store.Account) int {
		return cmp.Compare(s.rank(a.ID), s.rank(b.ID))
	})
	var errs []error
	for _, a := range free {
		if n == 0 || ctx.Err() != nil {
			break
		}
		switch err := s.m.adopt(ctx, a, s.m.cfg.AutoConnect); {
		case err == nil:
			n--
		case errors.Is(err, store.ErrStale): // another was faster
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// give hands n accounts over: those that this hub would take last. One whose QR code somebody
// may be scanning stays until it is paired or the codes have run out, which takes three minutes.
func (s *share) give(h *holdings, n int) {
	var ids []string
	for id, o := range h.ours {
		if o.snapshot().State != StatePairing {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(s.rank(b), s.rank(a)) })
	for _, id := range ids[:min(n, len(ids))] {
		s.m.log.Info("account is handed over to another hub", "account", id)
		s.cede(id, h.ours[id])
	}
}

// cede lets go of an account. Repeating it changes nothing.
func (s *share) cede(id string, o *owner) {
	o.stop()
	s.work.Go(func() {
		<-o.done
		s.m.dropped(id, o)
	})
}

func (s *share) rank(account string) uint32 {
	f := fnv.New32a()
	_, _ = f.Write([]byte(s.m.cfg.Instance + "\x00" + account))
	return f.Sum32()
}

// adopt takes an account that is free. Errors wrap store.ErrStale if it is not.
func (m *Manager) adopt(ctx context.Context, rec store.Account, connect bool) error {
	// One at a time: who acquires a lease that this hub has already shares it, and must not give
	// it back when something fails.
	select {
	case m.adopting <- struct{}{}:
		defer func() { <-m.adopting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := m.find(rec.ID); !errors.Is(err, ErrElsewhere) {
		return err // it is held here; or this hub stops, and its accounts are not to be seen any more
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.renew())
	defer cancel()
	l, err := m.deps.Store.AcquireLease(ctx, accountLease+rec.ID, m.cfg.Instance, m.cfg.ttl())
	if err != nil {
		return fmt.Errorf("take account %s: %w", rec.ID, err)
	}
	// The record may have changed before the lease was ours.
	if rec, err = m.deps.Store.Account(ctx, rec.ID); err != nil {
		return errors.Join(fmt.Errorf("take account: %w", err), m.giveBack(ctx, l))
	}
	o, err := m.own(ctx, rec, l)
	if err != nil {
		return fmt.Errorf("take account %s: %w", rec.ID, err)
	}
	m.install(o, connect && rec.Connect)
	return nil
}

// giveBack gives back a lease under which nothing was done.
func (m *Manager) giveBack(ctx context.Context, l store.Lease) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.margin())
	defer cancel()
	return m.deps.Store.ReleaseLease(ctx, l)
}

// dropped forgets an account's goroutine that has ended.
func (m *Manager) dropped(id string, o *owner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners[id] == o {
		delete(m.owners, id)
	}
}

// Holdings are the accounts that each hub on the database holds, by the hub's name; those
// that live and hold none included. While the store is known to fail it fails at once.
func (m *Manager) Holdings(ctx context.Context) (map[string][]string, error) {
	if err := m.unreadable(); err != nil {
		return nil, fmt.Errorf("list hubs: %w", err)
	}
	lives, err := m.deps.Store.ListLeases(ctx, instanceLease)
	if err != nil {
		return nil, err
	}
	held, err := m.deps.Store.ListLeases(ctx, accountLease)
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for _, l := range lives {
		out[l.Owner] = []string{}
	}
	for _, l := range held {
		out[l.Owner] = append(out[l.Owner], strings.TrimPrefix(l.Name, accountLease))
	}
	return out, nil
}

// Elsewhere are the accounts that other hubs hold, of those whose id begins with a prefix.
// While the store is known to fail it fails at once.
func (m *Manager) Elsewhere(ctx context.Context, prefix string) (map[string]bool, error) {
	if !m.cfg.Shared {
		return nil, nil
	}
	if err := m.unreadable(); err != nil {
		return nil, fmt.Errorf("list accounts of other hubs: %w", err)
	}
	held, err := m.deps.Store.ListLeases(ctx, accountLease+prefix)
	if err != nil {
		return nil, fmt.Errorf("list accounts of other hubs: %w", err)
	}
	out := map[string]bool{}
	for _, l := range held {
		if l.Owner != m.cfg.Instance {
			out[strings.TrimPrefix(l.Name, accountLease)] = true
		}
	}
	return out, nil
}

// Holder names the hub that holds an account, "" for none: this one by its own name.
func (m *Manager) Holder(ctx context.Context, id string) (string, error) {
	m.mu.Lock()
	_, here := m.owners[id]
	_, was := m.parked[id]
	m.mu.Unlock()
	if !m.cfg.Shared || here && m.Tenure(id) != 0 { // else its goroutine is about to end
		return m.cfg.Instance, nil
	}
	if err := m.storage.outage(); err != nil {
		if was { // as far as anybody knows
			return m.cfg.Instance, nil
		}
		return "", fmt.Errorf("find the hub of account %s: %w", id, err)
	}
	held, err := m.deps.Store.ListLeases(ctx, accountLease+id)
	if err != nil {
		return "", fmt.Errorf("find the hub of account %s: %w", id, err)
	}
	for _, l := range held {
		if l.Name == accountLease+id {
			return l.Owner, nil
		}
	}
	return "", nil
}
