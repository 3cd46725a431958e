package lua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

// rule is one file: a pipeline.Rule.
type rule struct {
	script *script
	cfg    RuleConfig
	wall   time.Duration
	// health is shared by the rule's successors as long as nothing of it changes.
	health *health
	metric ruleMetrics
	// content identifies all that decides what the rule does.
	content string

	// on are the triggers of the file's handlers, in order of registration.
	on []trigger
	// slots each hold a machine. A chat always uses the same one, and one machine
	// works on one event at a time.
	slots []slot
}

type slot struct {
	mu sync.Mutex
	st *state // nil: has to be built
}

var _ pipeline.Rule = (*rule)(nil)

// Name implements pipeline.Rule.
func (r *rule) Name() string { return r.script.name }

// Match implements pipeline.Rule: it tests the triggers without entering Lua, those of a
// disabled rule, too.
func (r *rule) Match(ev *sdk.Event) bool {
	m := ev.Message
	if m == nil {
		return false
	}
	for i := range r.on {
		if t := &r.on[i]; !t.misses(m) && t.match(ev) {
			return r.applies(ev)
		}
	}
	return false
}

// applies tests what wildcat.yaml says about the rule.
func (r *rule) applies(ev *sdk.Event) bool {
	return (len(r.cfg.Accounts) == 0 || slices.Contains(r.cfg.Accounts, ev.Account)) &&
		(len(r.cfg.Chats) == 0 || chatIn(r.cfg.Chats, ev))
}

// Eval implements pipeline.Rule. Its error is a *Failure, unless the machine could
// not be built or the rule is disabled.
func (r *rule) Eval(ctx context.Context, ev *sdk.Event) (pipeline.Verdict, error) {
	if ev == nil || ev.Message == nil {
		return pipeline.Verdict{}, nil
	}
	if r.health.disabled.Load() {
		r.metric.skipped.Inc()
		return pipeline.Verdict{}, &pipeline.DisabledError{Reason: r.health.why()}
	}
	s := &r.slots[slotOf(ev, len(r.slots))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st == nil || s.st.run.worn() {
		st, err := r.rebuild(ctx)
		if err != nil {
			return pipeline.Verdict{}, err
		}
		s.st = st
	}
	v, f := r.run(ctx, s, ev)
	if f != nil {
		r.failed(ctx, ev, f)
		return pipeline.Verdict{}, f
	}
	return v, nil
}

// run runs the handlers that match; a drop ends it.
func (r *rule) run(ctx context.Context, s *slot, ev *sdk.Event) (v pipeline.Verdict, f *Failure) {
	st := s.st
	st.run.begin(ctx, ev, r.wall)
	var err error
	for i := range st.handlers {
		h := &st.handlers[i]
		if !h.on.match(ev) {
			continue
		}
		if err = r.handle(st, h); err != nil || st.run.verdict.Drop {
			break
		}
	}
	now := r.script.deps.Now()
	took := now.Sub(st.run.started)
	if err != nil {
		f = r.script.failure(err, st.run, took)
	} else {
		v = st.run.verdict
	}
	if st.run.killed == killPanic || took > maxWall {
		s.st = nil // it may be in any state: never use it again
	}
	st.run.end()
	r.metric.record(f, took.Seconds())
	if why := r.health.record(now, f, originOf(ev), r.cfg.OnError == OnErrorDisable); why != "" {
		r.health.show(r.metric.disabled)
		r.script.deps.Logger.LogAttrs(ctx, slog.LevelError, "rule disabled", slog.String("component", "lua"),
			slog.String("rule", r.script.name), slog.String("reason", why), slog.String("event_id", ev.ID))
	}
	return v, f
}

// handle is one of the program's edges where panics end: it becomes the rule's failure.
func (r *rule) handle(st *state, h *handler) (err error) {
	defer func() {
		if rcv := recover(); rcv != nil {
			st.run.kill(killPanic, "internal error")
			err = fmt.Errorf("internal error: %v", rcv)
		}
	}()
	return st.handle(h)
}

// failed logs a failure.
func (r *rule) failed(ctx context.Context, ev *sdk.Event, f *Failure) {
	r.script.deps.Logger.LogAttrs(ctx, slog.LevelWarn, "rule failed", slog.String("component", "lua"),
		slog.String("rule", f.Rule), slog.String("account", ev.Account), slog.String("event_id", ev.ID),
		slog.String("file", f.File), slog.Int("line", f.Line), slog.String("killed", f.Killed),
		slog.Int("instructions", f.Instructions), slog.Duration("duration", f.Took), slog.String("err", f.Message))
}

// rebuild makes a machine to replace a broken or worn one. The file's own code runs
// again, and has to register the same handlers.
func (r *rule) rebuild(ctx context.Context) (*state, error) {
	st, bad := r.script.newState(ctx)
	if len(bad) > 0 {
		return nil, fmt.Errorf("rule %s: build its state again: %w", r.script.name, Problems(bad))
	}
	if !sameHandlers(r.on, st.handlers) {
		return nil, fmt.Errorf("rule %s: %w", r.script.name, errDiffers)
	}
	return st, nil
}

var errDiffers = errors.New("the file registers other handlers each time it is loaded")

func sameHandlers(on []trigger, hs []handler) bool {
	return slices.EqualFunc(on, hs, func(t trigger, h handler) bool { return t.same(&h.on) })
}

// slotOf spreads chats over slots.
func slotOf(ev *sdk.Event, n int) int {
	h := hash(ev.Account, ev.Chat)
	return int((h ^ h>>32) % uint64(n)) //nolint:gosec // n is small and positive
}
