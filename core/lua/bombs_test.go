package lua

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each of these hangs, crashes or fills the memory of a gopher-lua that is used as
// it comes. Here each must end as an error that says why, soon and in little memory.
func bombs() map[string]struct{ code, want string } {
	long := `local s = string.rep("a", 200000) `
	return map[string]struct{ code, want string }{
		"stacked stars":          {`string.find(string.rep("a", 200), string.rep("a*", 12) .. "b")`, "pattern needs more steps"},
		"stacked lazy dots":      {`string.find(string.rep("a", 5000), ".-.-.-b")`, "pattern needs more steps"},
		"four lazy captures":     {`string.find(string.rep("a", 200), "(.-)(.-)(.-)(.-)b")`, "pattern needs more steps"},
		"lazy dot on long text":  {long + `string.find(s, ".-b")`, "pattern needs more steps"},
		"matches in a loop":      {`while true do string.find(string.rep("a", 300), ".-.-b") end`, "pattern needs more steps"},
		"swallowed match":        {`while true do pcall(string.find, string.rep("a", 5000), ".-.-.-b") end`, "pattern needs more steps"},
		"gsub on long text":      {long + `for i = 1, 100 do s:gsub("a", "b") end`, "budget"},
		"gsub amplification":     {long + `s:gsub("a", string.rep("b", 1000))`, "longer than the limit"},
		"gsub %0 amplification":  {long + `s:gsub(".*", "%0%0%0%0")`, "longer than the limit"},
		"gsub with a function":   {long + `s:gsub("a", function() return string.rep("b", 1000) end)`, "longer than the limit"},
		"gmatch on long text":    {long + `for i = 1, 100 do for w in s:gmatch("a") do end end`, "budget"},
		"far index":              {`local t = {} t[67108862] = 1 while true do end`, "instruction budget"},
		"many far indexes":       {`local t = {} for i = 1, 10000 do t[i] = {} t[i][65535] = 1 end`, "memory budget"},
		"far index, several":     {`local t, x = {} for i = 1, 10000 do local u = {} u[65000], x = 1, 2 t[i] = u end`, "memory budget"},
		"far index, constructor": {`local t = {} for i = 1, 10000 do t[i] = {[65000] = 1} end`, "memory budget"},
		"far insert":             {`table.insert({}, 6e7, 1)`, "not between 1 and 1"},
		"huge rep":               {`string.rep("x", 2e9)`, "longer than the limit"},
		"huge rep, wrapping":     {`string.rep("xxxxxxxx", 2^60)`, "longer than the limit"},
		"doubling":               {`local s = "x" while true do s = s .. s end`, "longer than the limit"},
		"doubling, swallowed":    {`local s = "x" while true do pcall(function() s = s .. s end) end`, "budget"},
		"many long strings":      {`local t = {} for i = 1, 1e9 do t[i] = string.rep("x", 200000) .. i end`, "memory budget"},
		"concat of a table":      {`local t = {} for i = 1, 2000 do t[i] = string.rep("x", 1000) end table.concat(t)`, "longer than the limit"},
		"wide format":            {`string.format("%900000d", 1)`, "longer than two digits"},
		"format amplification":   {`local s = string.rep("%99d", 5000) string.format(s, unpack({1,2,3}))`, "number expected"},
		"coroutines":             {`coroutine.wrap(function() end)()`, "nil"},
		"endless loop":           {`while true do end`, "instruction budget"},
		"endless for":            {`for i = 1, math.huge do end`, "instruction budget"},
		"endless repeat":         {`repeat until false`, "instruction budget"},
		"endless goto":           {`::a:: goto a`, "instruction budget"},
		"endless pcall":          {`while true do pcall(error, "x") end`, "instruction budget"},
		"endless xpcall":         {`while true do xpcall(function() error("x") end, function(e) return e end) end`, "instruction budget"},
		"budget in xpcall":       {`xpcall(function() while true do end end, function() return 1 end)`, "instruction budget"},
		"nested pcall":           {`local function f() pcall(f) end while true do f() end`, ""},
		"tables without end":     {`local t = {} while true do t = {t, {}, {x = 1}} end`, "tables"},
		"closures without end":   {`local f while true do local g = f f = function() return g end end`, "instruction budget"},
		"varargs without end":    {`local t = {} local function f(...) end while true do f(1) end`, "instruction budget"},
		"sort by math.max":       {`local t = {} for i = 1, 5000 do t[i] = i % 7 end table.sort(t, math.max) while true do table.sort(t, math.max) end`, "instruction budget"},
		"sort that errs":         {`local t = {} for i = 1, 100 do t[i] = {} end table.sort(t)`, "compare"},
		"front inserts":          {`local t = {} for i = 1, 200000 do table.insert(t, 1, i) end`, "instruction budget"},
		"growing list":           {`local t = {} for i = 1, 1e9 do t[#t + 1] = i end`, "instruction budget"},
		"deep recursion":         {`local function f() return 1 + f() end f()`, "stack overflow"},
		"deep recursion, tails":  {`local function f() return f() end f()`, "instruction budget"},
		"index loop":             {`local t = setmetatable({}, {__index = function(t, k) return t[k] end}) local x = t.x`, "stack overflow"},
		"index cycle":            {`local t = {} t.__index = t setmetatable(t, t) for i = 1, 1e9 do pcall(function() return t.x.y end) end`, "budget"},
		"tostring loop":          {`local t = setmetatable({}, {__tostring = function(t) return tostring(t) end}) tostring(t)`, "stack overflow"},
		"concat loop":            {`local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end local x = t .. "a"`, "stack overflow"},
		"call loop":              {`local t = setmetatable({}, {}) getmetatable(t).__call = function(self) return self() + 1 end t()`, "stack overflow"},
		"string metatable":       {`getmetatable("").__index = function() end`, "non-table object(boolean)"},
		"string methods":         {`string.rep = nil`, "read-only"},
		"set string metatable":   {`setmetatable("", {})`, "table expected"},
		"message metatable":      {`getmetatable(msg).__index = nil`, "non-table object(boolean)"},
		"globals metatable":      {`setmetatable(_G, {})`, "protected metatable"},
		"new global":             {`seen = 1`, "read-only once the file is loaded"},
		"own pairs":              {`pairs = nil`, "part of the language"},
		"newproxy":               {`newproxy(true)`, "non-function"},
		"getfenv":                {`getfenv(0)`, "non-function"},
		"setfenv":                {`setfenv(1, {})`, "non-function"},
		"loadstring":             {`loadstring("return 1")()`, "non-function"},
		"load":                   {`load(function() end)`, "non-function"},
		"dofile":                 {`dofile("/etc/passwd")`, "non-function"},
		"require":                {`require("os")`, "non-function"},
		"module":                 {`module("x")`, "non-function"},
		"collectgarbage":         {`collectgarbage()`, "non-function"},
		"rawset":                 {`rawset(_G, "x", 1)`, "non-function"},
		"os.exit":                {`os.exit(1)`, "nil"},
		"io.popen":               {`io.popen("true")`, "nil"},
		"debug":                  {`debug.getregistry()`, "nil"},
		"package":                {`package.loadlib("x", "y")`, "nil"},
		"channel":                {`channel.make()`, "nil"},
		"string.dump":            {`string.dump(function() end)`, "non-function"},
		"randomseed":             {`math.randomseed(1)`, "non-function"},
		"unpack":                 {`unpack({}, 1, 1e8)`, "too many values"},
		"unpack, wrapping":       {`unpack({}, -2^62, 2^62)`, "too many values"},
		"select":                 {`select(0, 1)`, "out of range"},
		"wide call":              {`local function f(...) return select("#", ...) end local t = {} for i = 1, 900 do t[i] = i end while true do f(unpack(t)) end`, ""},
		"deep wide calls":        {`local t = {} for i = 1, 900 do t[i] = i end local function f(...) return 1 + f(unpack(t)) end f()`, "overflow"},
		"many actions":           {`while true do msg:reply("x") end`, "more than 32 actions"},
		"many tags":              {`for i = 1, 1e9 do msg:tag("t" .. i) end`, "more than 32 tags"},
		"many logs":              {`while true do log.info("x") end`, "instruction budget"},
		"scan of deleted keys":   {`local t = {} for i = 1, 8000 do t["k" .. i] = 1 t["k" .. i] = nil end while true do next(t) end`, ""},
		"length of deleted list": {`local t = {} t[65000] = 1 t[65000] = nil while true do local x = #t end`, ""},
		"comparing long strings": {`local a, b = string.rep("a", 200000), string.rep("a", 199999) .. "b" while true do local x = a < b end`, ""},
		"digits as a number":     {`local a = string.rep("1", 200000) while true do local x = a + 1 end`, ""},
	}
}

func TestBombsEndAsClearErrorsSoonAndInLittleMemory(t *testing.T) {
	for name, bomb := range bombs() {
		t.Run(name, func(t *testing.T) {
			set := load(t, body(bomb.code), Deps{})
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			v, err := eval(t, set, message("boom"))
			took := time.Since(began)
			runtime.ReadMemStats(&after)

			require.Error(t, err)
			require.Empty(t, v)
			var f *Failure
			require.ErrorAs(t, err, &f)
			if f.Killed != killWall { // on a busy machine the clock may come first
				require.Contains(t, f.Message, bomb.want)
			}
			require.NotEqual(t, killPanic, f.Killed, f.Detail())
			require.Equal(t, "x.lua", f.File)
			require.Positive(t, f.Line, f.Detail())
			// The aim is 60 ms; slow and instrumented machines get some room.
			require.Less(t, took, 60*time.Millisecond*slowdown)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(48<<20))
			t.Logf("%s %d KiB %v", took, (after.TotalAlloc-before.TotalAlloc)>>10, err)

			// The machine is as good as before, unless it was thrown away.
			if st := set.rules[0].slots[0].st; st != nil {
				st.run.begin(t.Context(), message("again"), maxWall)
				require.NoError(t, st.call(st.run.lib.next, emptyTable()))
			}
		})
	}
}

func TestBombsInTheSourceAreRefusedSoon(t *testing.T) {
	rep := strings.Repeat
	for name, bomb := range map[string]struct{ code, want string }{
		"parentheses":     {"local x = " + rep("(", 60000) + "1" + rep(")", 60000), "nested more than 200"},
		"tables":          {"local x = " + rep("{", 60000) + rep("}", 60000), "nested more than 200"},
		"calls":           {"local f local x = " + rep("f(", 60000) + rep(")", 60000), "nested more than 200"},
		"blocks":          {rep("do ", 30000) + rep("end ", 30000), "nested more than 200"},
		"functions":       {rep("local function f() ", 10000) + rep("end ", 10000), "nested more than 200"},
		"unary":           {"local x = " + rep("- ", 60000) + "1", "more than 200 operators"},
		"not":             {"local x = " + rep("not ", 60000) + "1", "more than 200 operators"},
		"sums":            {"local x = 1" + rep("+1", 60000), "more than 1000 deep"},
		"powers":          {"local x = 1" + rep("^1", 60000), "more than 1000 operators"},
		"concats":         {"local x = 1" + rep(" ..1", 50000), "more than 1000 operators"},
		"fields":          {"local x local y = x" + rep(".x", 60000), "more than 1000 deep"},
		"calls in a row":  {"local f f" + rep("()", 60000), "more than 1000 deep"},
		"elseif":          {"local x if x then " + rep("elseif x then ", 15000) + "end", "more than 1000 deep"},
		"names":           {"local x = {" + manyNames(40000) + "}", "different names"},
		"size":            {rep("-- x\n", 60000), "more than the limit"},
		"locals":          {rep("local a ", 300), "too many local variables"},
		"load loop":       {"while true do end", "instruction budget"},
		"load memory":     {`local s = "x" while true do s = s .. s end`, "longer than the limit"},
		"load pattern":    {`string.find(string.rep("a", 5000), ".-.-.-b")`, "pattern needs more steps"},
		"binary":          {"\x1bLua", "binary"},
		"concat operator": {`local s = "x" for i = 1, 100 do s = s .. s .. s .. s end`, "longer than the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			bad := Check(files(t, "x.lua", bomb.code))
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			require.Len(t, bad, 1)
			if !strings.HasPrefix(bad[0].Message, "stopped after") {
				require.Contains(t, bad[0].Message, bomb.want)
			}
			require.Less(t, took, 150*time.Millisecond*slowdown)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(48<<20))
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("a")
		b.WriteString(strings.ToLower(strings.TrimLeft(base36(i), "0")))
		b.WriteByte(',')
	}
	return b.String()
}

func base36(n int) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	s := ""
	for ; n > 0; n /= 36 {
		s = string(digits[n%36]) + s
	}
	return s
}
