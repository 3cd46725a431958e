package lua

import (
	"context"
	"fmt"

	glua "github.com/yuin/gopher-lua"
)

// shared is what all scripts of a Set have in common.
type shared struct {
	lim  Limits
	deps Deps
	lib  *library
	zone *zones
	gone chan struct{} // closed: what a spent budget's Done returns
}

func newShared(lim Limits, deps Deps) *shared {
	gone := make(chan struct{})
	close(gone)
	return &shared{lim: lim, deps: deps, lib: newLibrary(), zone: newZones(), gone: gone}
}

// script is one compiled file. Its code is shared by its states.
type script struct {
	*shared
	name  string
	src   *source
	proto *glua.FunctionProto
}

// state is one Lua machine with one script in it. It is not safe for concurrent
// use: a slot's mutex guards it.
type state struct {
	l        *glua.LState
	run      *run
	handlers []handler
}

// newState makes a machine and runs the file's own code in it. Mistakes in the file
// come back as problems.
func (sc *script) newState(ctx context.Context) (*state, []Problem) {
	l := glua.NewState(glua.Options{
		SkipOpenLibs: true, CallStackSize: sc.lim.CallDepth,
		RegistrySize: registrySize, RegistryMaxSize: registryMax, RegistryGrowStep: registrySize,
	})
	st := &state{l: l, run: newRun(sc.name, sc.shared)}
	l.SetContext(st.run)
	l.SetMetatable(glua.LString(""), sc.lib.strings)
	freeze := sc.globals(l)

	load := &loading{}
	st.run.begin(ctx, nil, maxWall)
	st.run.loading = load
	err := st.call(l.NewFunctionFromProto(sc.proto), sc.lib.concat, sc.lib.table, sc.lib.set, sc.lib.length)
	st.run.loading = nil
	freeze()
	st.handlers = load.handlers

	var bad []Problem
	for _, p := range load.problems {
		// Excerpt holds the key that is wrong, to find its line by.
		line, col := p.Line, 0
		if p.Excerpt != "" {
			line, col = sc.src.find(p.Line, p.Excerpt)
		}
		bad = append(bad, sc.src.problem(line, col, "%s", p.Message))
	}
	if err != nil {
		line, msg := sc.src.locateError(err)
		bad = append(bad, sc.src.problem(line, 0, "%s", msg))
	} else if len(load.handlers) == 0 && len(bad) == 0 {
		bad = append(bad, sc.src.problem(0, 0, "the file registers no handler: wildcat.on is never called"))
	}
	st.run.end()
	// What the load chunk did is no wear of the state.
	st.run.spentInstructions, st.run.spentMemory = 0, 0
	return st, bad
}

// globals gives the state its global variables: an empty table in front of the real
// one, so that every write is seen. freeze makes them read-only.
func (sc *script) globals(l *glua.LState) (freeze func()) {
	inner := l.CreateTable(0, 1) // the file's own; most have none
	inner.Metatable = sc.lib.base
	frozen := false
	meta := emptyTable()
	meta.RawSetString("__index", inner)
	meta.RawSetString("__metatable", glua.LFalse)
	meta.RawSetString("__newindex", sc.lib.function(func(l *glua.LState) int {
		k := l.Get(2)
		if _, taken := sc.lib.globals[k.String()]; taken && k.Type() == glua.LTString {
			fail(l, "cannot set the global %s: it is part of the language", describe(k))
		}
		if frozen {
			fail(l, "cannot set the global %s: globals are read-only once the file is loaded (use local)", describe(k))
		}
		if n, ok := k.(glua.LNumber); ok && n > smallIndex {
			of(l).take(l, slotBytes*maxArrayIndex)
		}
		inner.RawSet(k, l.Get(3))
		return 0
	}))
	env := l.G.Global
	env.Metatable = meta
	inner.RawSetString("_G", env)
	return func() { frozen = true }
}

// call calls a Lua function, protected; the stack is as before afterwards.
func (st *state) call(fn *glua.LFunction, args ...glua.LValue) error {
	st.l.Push(fn)
	for _, a := range args {
		st.l.Push(a)
	}
	err := st.l.PCall(len(args), 0, nil)
	if api, ok := err.(*glua.ApiError); err != nil && (!ok || api.Type == glua.ApiErrorPanic) { //nolint:errorlint // unwrapped
		st.run.kill(killPanic, clip("internal error: "+err.Error()))
	}
	if err == nil && st.run.killed != "" {
		// Something swallowed it.
		err = fmt.Errorf("%s", st.run.killer)
	}
	return err
}

// handle runs one handler over the run's event.
func (st *state) handle(h *handler) error {
	msg := newMessage(st.l, st.run)
	err := st.call(h.fn, msg)
	msg.Value = nil
	return err
}

// errorText is what a Lua error says, without its traceback.
func errorText(err error) string {
	api, ok := err.(*glua.ApiError) //nolint:errorlint // PCall returns it unwrapped
	if !ok {
		return err.Error()
	}
	switch v := api.Object.(type) {
	case glua.LString:
		return string(v)
	case glua.LNumber:
		return numberString(v)
	case nil:
		return err.Error()
	default:
		return "error with a " + v.Type().String() + " value"
	}
}
