package lua

import (
	"context"
	"fmt"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

// Why a run was stopped; the words are label values of wildcat_rule_killed_total.
const (
	killInstructions = "instructions"
	killWall         = "wall"
	killMemory       = "memory"
	killTables       = "tables"
	killPattern      = "pattern"
	killPanic        = "panic"
	killCanceled     = "canceled"
)

// stretch is how many instructions run between two looks at the clock.
const stretch = 128

// run is one rule's work on one event: what it has spent, and what it has asked for.
// It is also the context of its Lua state, because gopher-lua calls ctx.Done()
// before every instruction: counting there costs no allocation, is deterministic,
// and no pcall can get round it. A state has one run, reset for every event.
type run struct {
	lim  Limits
	deps Deps
	rule string
	lib  *library
	zone *zones

	// fuel is what is left of the current stretch, reserve what is left behind it.
	fuel, reserve, total int
	started              time.Time
	wall                 time.Duration // after which a look stops the run
	// caller is the context of Eval, looked at for cancellation; nil between events.
	caller context.Context
	killed string // why, "" while alive; sticky
	killer string // the sentence
	gone   chan struct{}

	memory, tables, steps int
	lines, actions, texts int
	matcher               matcher

	ev      *sdk.Event
	verdict pipeline.Verdict

	// loading collects handlers and mistakes while the file's own code runs.
	loading *loading

	// spentInstructions and spentMemory add up over the state's life.
	spentInstructions, spentMemory int
}

// loading is what a load chunk leaves behind.
type loading struct {
	handlers []handler
	problems []Problem
}

// handler is one wildcat.on of a file.
type handler struct {
	on   trigger
	fn   *glua.LFunction
	line int
}

func newRun(rule string, sh *shared) *run {
	return &run{rule: rule, lim: sh.lim, deps: sh.deps, lib: sh.lib, zone: sh.zone, gone: sh.gone}
}

// begin resets the run for an event, or for the load chunk (ev nil).
func (r *run) begin(ctx context.Context, ev *sdk.Event, wall time.Duration) {
	r.total = r.lim.Instructions
	r.fuel = min(stretch, r.total)
	r.reserve = r.total - r.fuel
	r.started = r.deps.Now()
	r.wall = wall
	r.caller = ctx
	r.killed, r.killer = "", ""
	r.memory, r.tables, r.steps = r.lim.MemoryBytes, r.lim.Tables, r.lim.PatternSteps
	r.lines, r.actions, r.texts = 0, 0, 0
	r.ev = ev
	r.verdict = pipeline.Verdict{}
}

// end gives up everything that belongs to the event.
func (r *run) end() {
	r.spentInstructions += r.used()
	r.spentMemory += r.lim.MemoryBytes - r.memory
	r.caller, r.ev = nil, nil
	r.verdict = pipeline.Verdict{}
}

// worn says that the state has done enough to be built anew.
func (r *run) worn() bool {
	return r.spentInstructions > wearInstructions || r.spentMemory > wearBytes
}

func (r *run) used() int {
	return min(r.total, r.total-r.reserve-max(r.fuel, 0))
}

// Done is called by the interpreter before every instruction.
func (r *run) Done() <-chan struct{} {
	r.fuel--
	if r.fuel >= 0 {
		return nil
	}
	if r.look() {
		return nil
	}
	return r.gone
}

// look refills the stretch; it reports whether the run may go on.
func (r *run) look() bool {
	if r.killed != "" {
		return false
	}
	r.reserve += r.fuel // negative: what was charged beyond the stretch
	r.fuel = 0
	if r.reserve <= 0 {
		r.reserve = 0
		return r.kill(killInstructions, fmt.Sprintf("the instruction budget of %d is spent (an endless loop?)", r.total))
	}
	if took := r.deps.Now().Sub(r.started); took > r.wall {
		return r.kill(killWall, fmt.Sprintf("stopped after %s, the limit is %s", took.Round(time.Millisecond), r.wall))
	}
	if r.caller != nil && r.caller.Err() != nil {
		return r.kill(killCanceled, "stopped: "+r.caller.Err().Error())
	}
	r.fuel = min(stretch, r.reserve)
	r.reserve -= r.fuel
	return true
}

func (r *run) kill(why, sentence string) bool {
	if r.killed == "" {
		r.killed, r.killer = why, sentence
	}
	r.fuel = -1
	return false
}

// Err is what the interpreter raises once Done is closed.
func (r *run) Err() error {
	if r.killed == "" {
		return nil
	}
	return stopped(r.killer)
}

// stopped is the error text of a killed run.
type stopped string

func (s stopped) Error() string { return string(s) }

// Deadline and Value complete context.Context.
func (r *run) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value has none.
func (r *run) Value(any) any { return nil }

// logContext is the context for log lines; the run itself would count them.
func (r *run) logContext() context.Context {
	if r.caller != nil {
		return r.caller
	}
	return context.Background()
}

// of returns the run of a state.
func of(l *glua.LState) *run {
	//nolint:forcetypeassert // newState sets it; there is no other context
	return l.Context().(*run)
}

// charge takes n instructions for work that a Go function does.
func (r *run) charge(l *glua.LState, n int) {
	r.fuel -= n
	if r.fuel < 0 && !r.look() {
		r.raise(l)
	}
}

// raise raises the error of a killed run.
func (r *run) raise(l *glua.LState) { fail(l, "%s", r.killer) }

// room checks that a string of n bytes may be made, and accounts for it.
func (r *run) room(l *glua.LState, n int) {
	if n > r.lim.StringBytes {
		fail(l, "a string of %d bytes is longer than the limit of %d", n, r.lim.StringBytes)
	}
	r.take(l, n)
}

// take accounts for n bytes of memory.
func (r *run) take(l *glua.LState, n int) {
	r.memory -= n
	if r.memory < 0 {
		r.kill(killMemory, fmt.Sprintf("the memory budget of %d bytes an event is spent", r.lim.MemoryBytes))
		r.raise(l)
	}
	r.charge(l, 1+n>>8)
}

// table accounts for a new table.
func (r *run) table(l *glua.LState) {
	r.tables--
	if r.tables < 0 {
		r.kill(killTables, fmt.Sprintf("more than %d tables in one event", r.lim.Tables))
		r.raise(l)
	}
}

// fail raises an error that names the line of the calling Lua code. It does not return.
func fail(l *glua.LState, format string, args ...any) {
	// gopher-lua treats a lone format as text, so a percent sign is safe either way.
	l.RaiseError("%s", clip(fmt.Sprintf(format, args...)))
}

// clip keeps error messages short: they may quote a whole message.
func clip(s string) string {
	const most = 400
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
