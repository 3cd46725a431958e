package lua

import (
	"context"
	"fmt"
	"sync"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/core/pipeline"
)

// Load compiles every file, builds the machines and runs the files' own code. All
// mistakes of all files are reported together: the error is Problems, unless limits
// or metrics are wrong. It does not run the rules' tests; Bundle.Load does.
func Load(cfg Config, deps Deps) (*Set, error) {
	set, err := Read(cfg).load(cfg.Limits, deps, false)
	if err != nil {
		return nil, err
	}
	set.takeOver(nil)
	return set, nil
}

// Load builds the rules and runs their tests. Nothing is seen of the set, in metrics
// neither, until Live puts it into force. Errors are as those of the function Load.
func (b *Bundle) Load(deps Deps) (*Set, error) {
	return b.load(Limits{Instructions: b.Instructions}, deps, true)
}

func (b *Bundle) load(lim Limits, deps Deps, test bool) (*Set, error) {
	lim, err := lim.withDefaults()
	if err != nil {
		return nil, err
	}
	deps = deps.withDefaults()
	set, bad := b.build(newShared(lim, deps))
	if test && len(bad) == 0 {
		bad = b.test(set)
	}
	if len(bad) > 0 {
		return nil, Problems(bad)
	}
	if set.metrics, err = newMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	return set, nil
}

// Check reports every mistake that a load would, those that the rules' tests find
// included, and puts nothing into force.
func Check(cfg Config) []Problem {
	lim, err := cfg.Limits.withDefaults()
	if err != nil {
		return []Problem{{File: "rules", Message: err.Error()}}
	}
	b := Read(cfg)
	set, bad := b.build(newShared(lim, Deps{Slots: 1}.withDefaults()))
	return append(bad, b.test(set)...)
}

// capArrays bounds gopher-lua's arrays, once: it is a variable of the library's, read
// by every running machine.
var capArrays = sync.OnceFunc(func() { glua.MaxArrayIndex = maxArrayIndex })

func (b *Bundle) build(sh *shared) (*Set, []Problem) {
	capArrays()
	var bad []Problem
	if n := b.size(); n > MaxBundle {
		bad = append(bad, Problem{File: "rules", Message: fmt.Sprintf(
			"the rules and their tests are %d bytes in all, more than the limit of %d", n, MaxBundle)})
	}
	set := &Set{}
	var list []pipeline.Rule
	taken := map[string]string{}
	for i := range b.Rules {
		f := &b.Rules[i]
		if other, ok := taken[f.Name]; ok {
			bad = append(bad, Problem{
				File: f.File, Message: fmt.Sprintf("the rule name %q is taken by %s: give one of them another name", f.Name, other),
			})
		}
		taken[f.Name] = f.File
		r, problems := buildRule(f, sh)
		bad = append(bad, problems...)
		if len(problems) > 0 {
			continue
		}
		r.content = b.content(f)
		set.rules = append(set.rules, r)
		list = append(list, r)
	}
	set.inForce = pipeline.InForce{
		Rules: list, Version: b.Version(), Release: set.release,
		Replies: pipeline.ReplyLimits{MaxAge: b.MaxAge, PerMinute: b.RepliesPerMinute},
	}
	return set, bad
}

func buildRule(f *BundledRule, sh *shared) (*rule, []Problem) {
	whole := func(format string, args ...any) []Problem {
		return []Problem{{File: f.File, Message: fmt.Sprintf(format, args...)}}
	}
	wall := sh.lim.Wall
	switch {
	case f.Timeout < 0 || f.Timeout > maxWall:
		return nil, whole("timeout %s is not between 0 and %s", f.Timeout, maxWall)
	case f.Timeout > 0:
		wall = f.Timeout
	}
	switch f.OnError {
	case "", OnErrorContinue, OnErrorDisable:
	default:
		return nil, whole("on_error must be %s or %s, not %q", OnErrorContinue, OnErrorDisable, f.OnError)
	}
	if f.unread != nil {
		return nil, whole("%v", f.unread)
	}
	src := newSource(f.File, f.Source)
	proto, err := compile(src, f.Source, sh.lim)
	if err != nil {
		return nil, []Problem{src.compileProblem(err)}
	}
	return newRule(&script{shared: sh, name: f.Name, src: src, proto: proto}, f.config(), wall)
}

// newRule builds the machines of a rule.
func newRule(sc *script, rc RuleConfig, wall time.Duration) (*rule, []Problem) {
	r := &rule{script: sc, cfg: rc, wall: wall, health: &health{}, slots: make([]slot, sc.deps.Slots)}
	for i := range r.slots {
		st, bad := sc.newState(context.Background())
		if len(bad) > 0 {
			return nil, bad
		}
		if i == 0 {
			for _, h := range st.handlers {
				r.on = append(r.on, h.on)
			}
		} else if !sameHandlers(r.on, st.handlers) {
			return nil, []Problem{{File: sc.src.file, Message: errDiffers.Error()}}
		}
		r.slots[i].st = st
	}
	return r, nil
}
