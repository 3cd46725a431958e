package rules

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
)

// followEvery is how often a hub looks what others have put into force.
const followEvery = 2 * time.Second

// Deps is what the program passes in.
type Deps struct {
	// Read says which rules the operator wants: at New, and again at each reload.
	Read func() (Source, error)
	// Lua is for the rules; its Logger and Registerer are used here, too.
	Lua lua.Deps
	// Now and Rand default to the clock and to crypto/rand; Every is how often other hubs'
	// changes are looked for, default 2 s.
	Now   func() time.Time
	Rand  io.Reader
	Every time.Duration
}

// Source is what the operator's configuration says.
type Source struct {
	Config lua.Config
	// Silent: nothing is said about rules, not even that there are none. Such a hub takes
	// what others have.
	Silent bool
	// Restart names what else has changed in the configuration and is not in force.
	Restart []string
}

// ErrSilent says that a reload would take all rules away from hubs that have some, and that
// nobody has asked for that: the configuration may be in the middle of being saved.
var ErrSilent = errors.New("the configuration of this hub says nothing about rules (rules.files): reload them on a hub that has them, or say files: [] to have none")

// Place is where a hub finds what is in force.
type Place struct {
	KV store.KV
	// Hub is this hub's name; Shared says that other hubs use the same store.
	Hub    string
	Shared bool
}

// Manager keeps the rules in force. It is the pipeline's RuleSet.
type Manager struct {
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	live    *lua.Live
	files   *lua.Bundle // what was read at New
	silent  bool        // nothing was

	place   Place
	history *history

	// turn holds a token while nobody changes the rules.
	turn chan struct{}

	mu      sync.Mutex
	present Version
	behind  *Failure // what others have put into force and this hub cannot load
	failure *Failure // of the last change that was asked for here
	refused uint64   // the number of the change that was refused

	quit context.CancelFunc // ends following; nil before Start
	done sync.WaitGroup
}

var _ pipeline.RuleSet = (*Manager)(nil)

// New reads and loads the rules. It touches nothing live: the operator's mistakes are its
// error, as lua.Problems. Until Start the rules of the files are in force.
func New(deps Deps) (*Manager, error) {
	if deps.Lua.Logger == nil {
		deps.Lua.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.Reader
	}
	if deps.Every <= 0 {
		deps.Every = followEvery
	}
	src, err := deps.Read()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		deps: deps, log: deps.Lua.Logger.With("component", "rules"), files: lua.Read(src.Config), silent: src.Silent,
		turn: make(chan struct{}, 1),
	}
	set, err := m.files.Load(deps.Lua)
	if err != nil {
		return nil, err
	}
	if m.metrics, err = newMetrics(deps.Lua.Registerer); err != nil {
		return nil, err
	}
	m.live = lua.NewLive(set)
	m.present = Version{Version: m.files.Version(), Rules: len(m.files.Rules), Cause: CauseStart, At: deps.Now()}
	m.metrics.inForce(m.present)
	m.turn <- struct{}{}
	return m, nil
}

// Acquire implements pipeline.RuleSet.
func (m *Manager) Acquire() pipeline.InForce { return m.live.Acquire() }

// Start puts the files' rules into force, or takes over what is in force already, and begins
// to follow other hubs. ctx bounds the start only.
func (m *Manager) Start(ctx context.Context, p Place) error {
	m.place = p
	m.history = &history{kv: p.KV, hub: p.Hub, now: m.deps.Now, rand: m.deps.Rand}
	if err := m.join(ctx); err != nil {
		return err
	}
	if p.Shared {
		following, quit := context.WithCancel(context.WithoutCancel(ctx))
		m.quit = quit
		m.done.Go(func() { m.followOthers(following) })
	}
	return nil
}

// Stop ends following. Safe without Start, and twice.
func (m *Manager) Stop(context.Context) error {
	if m.quit != nil {
		m.quit()
	}
	m.done.Wait()
	return nil
}

// join decides whose rules a hub that starts has in force. Files that were never in force
// are a change that the operator has made. Files that were in force once and are not any
// more are those of a hub that comes back in the middle of a change that was made elsewhere:
// it must not undo that for all. A hub that has the store to itself has nobody to undo it
// for, so its files decide, unless a rollback was asked for, which a restart must not undo.
func (m *Manager) join(ctx context.Context) error {
	for {
		rec, stored, err := m.history.read(ctx)
		if err != nil {
			return err
		}
		own, top := m.files.Version(), rec.top()
		switch {
		case top.Version == own:
			m.adopt(top)
			return nil
		case m.silent && m.place.Shared && top.Version != "":
			m.log.Info("the configuration says nothing about rules: those of the other hubs are in force", "version", top.Version, "number", top.Number)
			return m.follow(ctx)
		case rec.known(own) && (m.place.Shared || top.Cause == CauseRollback):
			attrs := append([]any{"files", own}, top.attrs()...)
			if m.silent { // which a reload refuses to take for none
				m.log.Warn("the configuration says nothing about rules: those of the rollback stay in force (files: [] and rules reload take them away)", attrs...)
			} else {
				m.log.Warn("rules of the files were in force before: a later version is, and stays in force (rules reload puts the files into force)", attrs...)
			}
			return m.follow(ctx)
		}
		v, err := m.history.publish(ctx, rec, stored, m.files, CauseStart)
		if errors.Is(err, store.ErrStale) {
			continue // another hub starts, too
		}
		if err != nil {
			return err
		}
		m.adopt(v)
		if v.Rules == 0 && top.Rules > 0 { // perhaps a line was lost from the configuration: who is told can go back
			m.log.Warn("no rules are in force any more: the configuration names none (rules rollback brings back those of before)",
				"version", v.Version, "number", v.Number, "before", top.Version, "rules_before", top.Rules)
			return nil
		}
		m.log.Info("rules of the files are in force", "version", v.Version, "number", v.Number, "rules", v.Rules, "before", top.Version)
		return nil
	}
}

// Reload reads the files again and puts them into force, on all hubs. On an error the old
// rules stay, unless the store does not know what became of it.
func (m *Manager) Reload(ctx context.Context) (Change, error) {
	return m.change(ctx, func() (Change, error) {
		src, err := m.deps.Read()
		if err == nil && src.Silent && (m.place.Shared || m.presentVersion().Rules > 0) {
			err = ErrSilent
		}
		if err != nil {
			return Change{}, err
		}
		if len(src.Restart) > 0 {
			m.log.Warn("configuration has changed beyond the rules: that is in force after a restart", "sections", src.Restart)
		}
		b := lua.Read(src.Config)
		set, err := b.Load(m.deps.Lua)
		if err != nil {
			return Change{}, err
		}
		c, err := m.install(ctx, b, set, CauseReload)
		c.Restart = src.Restart
		return c, err
	})
}

// Rollback puts a version that is kept into force again, on all hubs; "" is the one before
// the present. A beginning of its name will do. Errors wrap ErrNoVersion or ErrAmbiguous.
func (m *Manager) Rollback(ctx context.Context, version string) (Change, error) {
	return m.change(ctx, func() (Change, error) {
		rec, _, err := m.history.read(ctx)
		if err != nil {
			return Change{}, err
		}
		v, err := rec.resolve(version)
		if err != nil {
			return Change{}, err
		}
		b, set, err := m.fetch(ctx, v)
		if err != nil {
			return Change{}, err
		}
		return m.install(ctx, b, set, CauseRollback)
	})
}

// Change is what came of a reload or rollback.
type Change struct {
	// Version is in force now, Before was.
	Version, Before Version
	// Restart names the sections of the configuration that have changed, too, and are in
	// force after a restart only.
	Restart []string
}

// change makes one change at a time, and notes what came of it.
func (m *Manager) change(ctx context.Context, do func() (Change, error)) (Change, error) {
	if err := m.take(ctx); err != nil {
		return Change{}, err
	}
	defer m.give()
	if m.history == nil {
		return Change{}, errors.New("rules are not started")
	}
	c, err := do()
	if err == nil {
		m.metrics.reloads.WithLabelValues(resultOK).Inc()
		m.log.Info("rules are in force", "cause", c.Version.Cause, "version", c.Version.Version, "number", c.Version.Number,
			"rules", c.Version.Rules, "before", c.Before.Version)
		return c, nil
	}
	m.metrics.reloads.WithLabelValues(resultFailed).Inc()
	m.log.Warn("rules were not changed: the old ones stay in force", "version", m.presentVersion().Version, "err", err)
	m.mu.Lock()
	m.failure = &Failure{At: m.deps.Now(), Err: err}
	m.mu.Unlock()
	return Change{}, err
}

// install publishes a set that was loaded, and puts it into force here.
func (m *Manager) install(ctx context.Context, b *lua.Bundle, set *lua.Set, cause string) (Change, error) {
	c := Change{Before: m.presentVersion()}
	for {
		rec, stored, err := m.history.read(ctx)
		if err != nil {
			return Change{}, err
		}
		if cause == CauseRollback && !rec.kept(b.Version()) {
			return Change{}, fmt.Errorf("%w any more: %s", ErrNoVersion, b.Version())
		}
		c.Version, err = m.history.publish(ctx, rec, stored, b, cause)
		if errors.Is(err, store.ErrStale) {
			continue // another hub was first: this change comes after its
		}
		if err != nil {
			return Change{}, err
		}
		m.live.Swap(set)
		m.adopt(c.Version)
		return c, nil
	}
}

// adopt notes that a version is in force here.
func (m *Manager) adopt(v Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.present, m.behind, m.failure, m.refused = v, nil, nil, 0
	m.metrics.inForce(v)
}

func (m *Manager) presentVersion() Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.present
}

func (m *Manager) take(ctx context.Context) error {
	select {
	case <-m.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another change of the rules: %w", ctx.Err())
	}
}

func (m *Manager) give() { m.turn <- struct{}{} }
