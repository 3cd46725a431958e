package lua

import (
	"context"
	"fmt"
	"os"
	"sync"

	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/core/pipeline"
)

// Set is the rules in force. It holds no goroutine and needs no closing: a Set that
// nobody uses any more is collected, events in flight end on the one they began with.
type Set struct {
	rules []*rule
	list  []pipeline.Rule
}

var _ pipeline.RuleSet = (*Set)(nil)

// Rules implements pipeline.RuleSet.
func (s *Set) Rules() []pipeline.Rule { return s.list }

// Status says what each rule is doing, in their order.
func (s *Set) Status() []RuleStatus {
	out := make([]RuleStatus, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.health.status(r.script.name, r.script.src.file)
	}
	return out
}

// Load compiles every file, builds the machines and runs the files' own code. All
// mistakes of all files are reported together: the error is Problems, unless limits
// or metrics are wrong.
func Load(cfg Config, deps Deps) (*Set, error) {
	lim, err := cfg.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	deps = deps.withDefaults()
	set, bad := build(cfg, newShared(lim, deps))
	if len(bad) > 0 {
		return nil, Problems(bad)
	}
	// Only rules that go into force are seen in the metrics.
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	for _, r := range set.rules {
		r.metric = m.rule(r.script.name)
	}
	return set, nil
}

// Check reports every mistake that Load would, and puts nothing into force.
func Check(cfg Config) []Problem {
	lim, err := cfg.Limits.withDefaults()
	if err != nil {
		return []Problem{{File: "rules", Message: err.Error()}}
	}
	_, bad := build(cfg, newShared(lim, Deps{Slots: 1}.withDefaults()))
	return bad
}

// capArrays bounds gopher-lua's arrays, once: it is a variable of the library's, read
// by every running machine.
var capArrays = sync.OnceFunc(func() { glua.MaxArrayIndex = maxArrayIndex })

func build(cfg Config, sh *shared) (*Set, []Problem) {
	capArrays()
	set := &Set{}
	var bad []Problem
	taken := map[string]string{}
	for _, rc := range cfg.Rules {
		if other, ok := taken[rc.name()]; ok {
			bad = append(bad, Problem{
				File: rc.display(), Message: fmt.Sprintf("the rule name %q is taken by %s: give one of them another name", rc.name(), other),
			})
		}
		taken[rc.name()] = rc.display()
		r, problems := buildRule(cfg, rc, sh)
		bad = append(bad, problems...)
		if len(problems) > 0 {
			continue
		}
		set.rules = append(set.rules, r)
		set.list = append(set.list, r)
	}
	return set, bad
}

func buildRule(cfg Config, rc RuleConfig, sh *shared) (*rule, []Problem) {
	whole := func(format string, args ...any) []Problem {
		return []Problem{{File: rc.display(), Message: fmt.Sprintf(format, args...)}}
	}
	wall := sh.lim.Wall
	switch {
	case rc.Timeout < 0 || rc.Timeout > maxWall:
		return nil, whole("timeout %s is not between 0 and %s", rc.Timeout, maxWall)
	case rc.Timeout > 0:
		wall = rc.Timeout
	}
	switch rc.OnError {
	case "", OnErrorContinue, OnErrorDisable:
	default:
		return nil, whole("on_error must be %s or %s, not %q", OnErrorContinue, OnErrorDisable, rc.OnError)
	}
	text, err := os.ReadFile(cfg.path(rc))
	if err != nil {
		return nil, whole("%v", err)
	}
	src := newSource(rc.display(), text)
	proto, err := compile(src, text, sh.lim)
	if err != nil {
		return nil, []Problem{src.compileProblem(err)}
	}
	r := &rule{
		script: &script{shared: sh, name: rc.name(), src: src, proto: proto},
		cfg:    rc, wall: wall, slots: make([]slot, sh.deps.Slots),
	}
	for i := range r.slots {
		st, bad := r.script.newState(context.Background())
		if len(bad) > 0 {
			return nil, bad
		}
		if i == 0 {
			for _, h := range st.handlers {
				r.on = append(r.on, h.on)
			}
		} else if !sameHandlers(r.on, st.handlers) {
			return nil, whole("%v", errDiffers)
		}
		r.slots[i].st = st
	}
	return r, nil
}
