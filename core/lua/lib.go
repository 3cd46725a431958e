package lua

import (
	glua "github.com/yuin/gopher-lua"
)

// row is one function of the Lua API.
type row struct {
	name string
	fn   glua.LGFunction
}

// library is everything that Lua code finds. It is built once for a Set and shared
// by all states: nothing in it is changed after newLibrary, and Lua code sees its
// tables only through read-only proxies.
type library struct {
	env     *glua.LTable // of Go functions; empty
	globals map[string]glua.LValue
	// base is the metatable of a state's own globals, which falls back to globals: a table
	// of all of them for each state would be a quarter of what a state costs.
	base *glua.LTable
	// strings is the metatable of strings; private, so that no rule can change what
	// ("x"):upper() means.
	strings *glua.LTable
	message *glua.LTable // the metatable of msg
	methods map[string]*glua.LFunction
	frozen  *glua.LFunction // __newindex of everything read-only

	next, ipairs *glua.LFunction

	concat, table, set, length *glua.LFunction
}

func newLibrary() *library {
	lib := &library{env: emptyTable(), globals: map[string]glua.LValue{}, methods: map[string]*glua.LFunction{}}
	lib.frozen = lib.function(readOnly)
	lib.next, lib.ipairs = lib.function(baseNext), lib.function(ipairsNext)
	lib.concat, lib.table = lib.function(checkedConcat), lib.function(checkedTable)
	lib.set, lib.length = lib.function(checkedSet), lib.function(checkedLen)

	for _, r := range baseRows() {
		lib.globals[r.name] = lib.function(r.fn)
	}
	lib.globals["_VERSION"] = glua.LString("Lua 5.1")

	str := lib.module(stringRows())
	lib.strings = emptyTable()
	lib.strings.RawSetString("__index", str)
	lib.strings.RawSetString("__metatable", glua.LFalse)
	lib.globals["string"] = lib.proxy(str)
	lib.globals["table"] = lib.proxy(lib.module(tableRows()))
	lib.globals["math"] = lib.proxy(lib.module(mathRows(), mathConstants()...))
	lib.globals["time"] = lib.proxy(lib.module(timeRows()))
	lib.globals["log"] = lib.proxy(lib.module(logRows()))
	lib.globals["wildcat"] = lib.proxy(lib.module(wildcatRows()))

	all := emptyTable()
	for name, v := range lib.globals {
		all.RawSetString(name, v)
	}
	lib.base = emptyTable()
	lib.base.RawSetString("__index", all)
	lib.base.RawSetString("__metatable", glua.LFalse)

	for _, r := range messageRows() {
		lib.methods[r.name] = lib.function(r.fn)
	}
	lib.message = emptyTable()
	lib.message.RawSetString("__index", lib.function(messageIndex))
	lib.message.RawSetString("__newindex", lib.function(messageNewIndex))
	lib.message.RawSetString("__tostring", lib.function(messageString))
	lib.message.RawSetString("__metatable", glua.LFalse)
	return lib
}

func emptyTable() *glua.LTable { return &glua.LTable{Metatable: glua.LNil} }

func (lib *library) function(fn glua.LGFunction) *glua.LFunction {
	return &glua.LFunction{IsG: true, Env: lib.env, GFunction: fn}
}

// constant is a value of a module that is no function.
type constant struct {
	name  string
	value glua.LValue
}

func (lib *library) module(rows []row, constants ...constant) *glua.LTable {
	t := emptyTable()
	for _, r := range rows {
		t.RawSetString(r.name, lib.function(r.fn))
	}
	for _, c := range constants {
		t.RawSetString(c.name, c.value)
	}
	return t
}

// proxy is a table that reads from t and cannot be written. It has to be a table of
// its own: the interpreter asks __newindex only about keys that are absent.
func (lib *library) proxy(t *glua.LTable) *glua.LTable {
	meta := emptyTable()
	meta.RawSetString("__index", t)
	meta.RawSetString("__newindex", lib.frozen)
	meta.RawSetString("__metatable", glua.LFalse)
	return &glua.LTable{Metatable: meta}
}

func readOnly(l *glua.LState) int {
	fail(l, "cannot set %s: the library is read-only", describe(l.Get(2)))
	return 0
}
