package lua

import (
	glua "github.com/yuin/gopher-lua"
)

// wildcatRows are the functions of the global table wildcat.
func wildcatRows() []row {
	return []row{
		{"log", logInfo},
		{"now", wildcatNow},
		{"on", wildcatOn},
	}
}

// wildcatNow is the time in whole Unix seconds.
func wildcatNow(l *glua.LState) int {
	l.Push(glua.LNumber(of(l).deps.Now().Unix()))
	return 1
}

// wildcatOn registers a handler: wildcat.on("message", {…}, function(msg) … end).
// Mistakes are collected, so that one load shows all of them.
func wildcatOn(l *glua.LState) int {
	r := of(l)
	if r.loading == nil {
		fail(l, "wildcat.on can only be called while the file loads, not from a handler")
	}
	line := callerLine(l)
	wrong := func(key, text string) {
		r.loading.problems = append(r.loading.problems, Problem{Line: line, Message: text, Excerpt: key})
	}
	event, ok := l.Get(1).(glua.LString)
	if !ok || event != "message" {
		wrong("", "wildcat.on: unknown event "+describe(l.Get(1))+`; known is "message"`)
		return 0
	}
	on, fn := l.Get(2), l.Get(3)
	if _, isFn := on.(*glua.LFunction); isFn && fn == glua.LNil {
		on, fn = emptyTable(), on // wildcat.on("message", fn): every message
	}
	tb, ok := on.(*glua.LTable)
	if !ok {
		wrong("", "wildcat.on: the second argument must be a table of triggers, not "+describe(on))
		return 0
	}
	t, bad := readTrigger(tb)
	for _, m := range bad {
		wrong(m.key, m.text)
	}
	f, ok := fn.(*glua.LFunction)
	if !ok {
		wrong("", "wildcat.on: the third argument must be a function, not "+describe(fn))
		return 0
	}
	const most = 64
	if len(r.loading.handlers) >= most {
		fail(l, "more than %d handlers in one file", most)
	}
	r.loading.handlers = append(r.loading.handlers, handler{on: t, fn: f, line: line})
	return 0
}

// callerLine is the line of the Lua code that called the running Go function.
func callerLine(l *glua.LState) int {
	dbg, ok := l.GetStack(1)
	if !ok {
		return 0
	}
	if _, err := l.GetInfo("l", dbg, glua.LNil); err != nil {
		return 0
	}
	return max(dbg.CurrentLine, 0)
}
