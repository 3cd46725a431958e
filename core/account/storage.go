package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// While nothing can be stored nothing may be acknowledged, so no connection is of use:
// WhatsApp keeps the messages, and hands them over once there is one again. What the
// accounts wait for then is the store and not a back-off, so that they are back within
// moments of its return however long it was away.
const (
	// probeTimeout bounds one try to write. A store that needs longer is as good as none.
	probeTimeout = 3 * time.Second
	// probeEvery is between two tries.
	probeEvery = 500 * time.Millisecond
	// outageGrace is how long the store must have failed for connections to be given up
	// that are not hurt by it yet: the shortest of elections are over by then.
	outageGrace = 2 * time.Second
	// returnSpread is over how long accounts come back together.
	returnSpread = time.Second
)

// storage knows whether the store can be written, as far as there was reason to doubt it:
// nothing is tried while all is well.
type storage struct {
	ping    func(context.Context) error
	clock   Clock
	log     *slog.Logger
	metrics *metrics
	doubts  chan struct{} // holds one token

	quit chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu     sync.Mutex
	since  time.Time // of the first doubt that is not cleared up; zero: there is none
	reason string    // of the outage; "": there is none, or not for sure
	err    error     // the last try's
	news   chan struct{}
}

func newStorage(m *Manager) *storage {
	return &storage{
		ping: m.deps.Store.Ping, clock: m.deps.Clock, log: m.log, metrics: m.metrics,
		doubts: make(chan struct{}, 1), quit: make(chan struct{}), news: make(chan struct{}),
	}
}

// start begins to follow doubts: those of the accounts, and those of others.
func (s *storage) start(others <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	s.done.Go(func() {
		<-s.quit
		cancel()
	})
	s.done.Go(func() {
		for {
			select {
			case <-s.quit:
				return
			case <-others:
				s.doubt()
			case <-s.doubts:
				if doubtful, _ := s.state(); doubtful { // it may have been cleared up with another
					s.clearUp(ctx)
				}
			}
		}
	})
}

// stop ends it. Safe twice; with start.
func (s *storage) stop() {
	s.once.Do(func() { close(s.quit) })
	s.done.Wait()
}

// doubt says that the store failed somebody. From now on until it is cleared up no
// connection is made, and nothing about accounts is written.
func (s *storage) doubt() {
	s.mu.Lock()
	if s.since.IsZero() {
		s.since = s.clock.Now()
	}
	s.mu.Unlock()
	select {
	case s.doubts <- struct{}{}:
	default:
	}
}

// clearUp tries to write until it can.
func (s *storage) clearUp(ctx context.Context) {
	for {
		tctx, cancel := context.WithTimeout(ctx, probeTimeout)
		err := s.ping(tctx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.answered()
			return
		}
		s.failed(err)
		select {
		case <-ctx.Done():
			return
		case <-s.clock.After(probeEvery):
		}
	}
}

func (s *storage) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != "" {
		s.metrics.outage(false)
		s.log.Info("the database can be written again: accounts connect", "duration", s.clock.Now().Sub(s.since))
	}
	s.since, s.reason, s.err = time.Time{}, "", nil
	s.turn()
}

func (s *storage) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	reason := ReasonStoreDown
	switch {
	case errors.Is(err, store.ErrFull):
		reason = ReasonStoreFull
	case s.clock.Now().Sub(s.since) < outageGrace:
		return
	}
	if reason == s.reason {
		return
	}
	if s.reason == "" {
		s.metrics.outage(true)
	}
	s.reason = reason
	s.log.Error("the database cannot be written: accounts are disconnected until it can", "reason", reason, "err", err)
	s.turn()
}

// turn tells everyone. mu is held.
func (s *storage) turn() {
	close(s.news)
	s.news = make(chan struct{})
}

// changed closes when what state returns changes from doubt to an outage, or to none.
func (s *storage) changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// state says whether there is a doubt, and the reason if that has become an outage.
func (s *storage) state() (doubtful bool, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.since.IsZero(), s.reason
}

// outage is the error that everyone gets who would have to write; nil if there is none.
func (s *storage) outage() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" {
		return nil
	}
	return fmt.Errorf("%w: the database cannot be written since %s: %w", store.ErrAway, s.since.UTC().Format(time.RFC3339), s.err)
}

// unreadable is the error of those who would have to read what is not in memory; nil unless it
// is known that they would wait for nothing. One that is full, or a file's, can be read.
func (m *Manager) unreadable() error {
	if err := m.storage.outage(); m.cfg.Shared && !errors.Is(err, store.ErrFull) {
		return err
	}
	return nil
}

// storeFault tells the reasons that the store may be to blame for.
func storeFault(reason string) bool {
	return reason == ReasonStoreRefused || reason == ReasonDeviceFailed
}

// Outage says why nothing can be stored at this moment, as far as that is known, in an
// error that wraps store.ErrAway; nil if there is no reason to think so.
func (m *Manager) Outage() error { return m.storage.outage() }
