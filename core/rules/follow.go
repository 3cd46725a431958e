package rules

import (
	"context"
	"errors"
	"time"

	"github.com/wildcathub/wildcat/core/lua"
)

// followOthers looks again and again what other hubs have put into force, until Stop
// ends the context.
func (m *Manager) followOthers(ctx context.Context) {
	tick := time.NewTicker(m.deps.Every)
	defer tick.Stop()
	blind := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		look, cancel := context.WithTimeout(ctx, 5*followEvery)
		err := m.Follow(look)
		cancel()
		if err != nil && !blind && ctx.Err() == nil {
			m.log.Warn("rules that other hubs may have changed were not looked at", "err", err)
		}
		blind = err != nil
	}
}

// Follow puts into force here what another hub has, if that is something else. Its error
// is the store's; rules that cannot be loaded are shown by Status.
func (m *Manager) Follow(ctx context.Context) error {
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.give()
	return m.follow(ctx)
}

// follow is Follow for one who has the turn.
func (m *Manager) follow(ctx context.Context) error {
	rec, _, err := m.history.read(ctx)
	if err != nil {
		return err
	}
	top, before := rec.top(), m.presentVersion()
	if top.Number == before.Number && top.Version == before.Version || top.Version == "" || m.refusedNumber() == top.Number {
		return nil
	}
	_, set, err := m.fetch(ctx, top)
	var unusable *loadError
	if errors.As(err, &unusable) {
		m.refuse(top, err)
		return nil
	}
	if err != nil {
		return err
	}
	m.live.Swap(set)
	m.adopt(top)
	attrs := append(top.attrs(), "rules", top.Rules, "before", before.Version)
	if m.asked(top) {
		m.log.Info("rules of the database are in force", attrs...)
		return nil
	}
	m.metrics.reloads.WithLabelValues(resultFollowed).Inc()
	m.log.Info("rules of another hub are in force", attrs...)
	return nil
}

// asked says whether a version came into force on this hub, perhaps before it was started again.
func (m *Manager) asked(v Version) bool { return v.Hub == m.place.Hub }

// refuse keeps the present rules, since those that are in force elsewhere do not load here.
// It is not tried again: nothing that makes the difference changes while the program runs.
func (m *Manager) refuse(top Version, err error) {
	m.mu.Lock()
	m.behind = &Failure{At: m.deps.Now(), Version: top.Version, Err: err}
	m.refused = top.Number
	present := m.present
	m.metrics.behind.Set(1)
	m.mu.Unlock()
	m.metrics.reloads.WithLabelValues(resultRefused).Inc()
	attrs := append(top.attrs(), "present", present.Version, "err", err)
	if m.asked(top) {
		m.log.Error("rules of the database cannot be loaded here: the old ones stay in force", attrs...)
		return
	}
	m.log.Error("rules of another hub cannot be loaded here: the old ones stay in force on this hub", attrs...)
}

func (m *Manager) refusedNumber() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// fetch reads a version from the store and loads it.
func (m *Manager) fetch(ctx context.Context, v Version) (*lua.Bundle, *lua.Set, error) {
	b, err := m.history.bundle(ctx, v)
	if err != nil {
		return nil, nil, err
	}
	set, err := b.Load(m.deps.Lua)
	if err != nil {
		return nil, nil, &loadError{err}
	}
	return b, set, nil
}
