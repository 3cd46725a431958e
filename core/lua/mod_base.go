package lua

import (
	"math"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// baseRows are the global functions. What Lua has besides (load, require, rawset,
// getfenv, newproxy, collectgarbage, coroutines, io, os, debug …) is left out.
func baseRows() []row {
	return []row{
		{"assert", baseAssert},
		{"error", baseError},
		{"getmetatable", baseGetMetatable},
		{"ipairs", baseIpairs},
		{"next", baseNext},
		{"pairs", basePairs},
		{"pcall", basePcall},
		{"print", logInfo},
		{"rawequal", baseRawEqual},
		{"rawget", baseRawGet},
		{"select", baseSelect},
		{"setmetatable", baseSetMetatable},
		{"tonumber", baseToNumber},
		{"tostring", baseToString},
		{"type", baseType},
		{"unpack", tableUnpack},
		{"xpcall", baseXpcall},
	}
}

func baseAssert(l *glua.LState) int {
	if glua.LVAsBool(l.CheckAny(1)) {
		return l.GetTop()
	}
	if v := l.Get(2); v.Type() != glua.LTNil && v.Type() != glua.LTString {
		l.Error(v, 1)
	}
	fail(l, "%s", l.OptString(2, "assertion failed!"))
	return 0
}

func baseError(l *glua.LState) int {
	v := l.Get(1)
	if s, ok := v.(glua.LString); ok {
		v = glua.LString(clip(string(s)))
	}
	l.Error(v, min(max(l.OptInt(2, 1), 0), of(l).lim.CallDepth))
	return 0
}

func baseGetMetatable(l *glua.LState) int {
	l.Push(l.GetMetatable(l.CheckAny(1)))
	return 1
}

// baseSetMetatable changes tables only: another type's metatable is one for all its values.
func baseSetMetatable(l *glua.LState) int {
	tb := l.CheckTable(1)
	mt := l.CheckAny(2)
	if mt.Type() != glua.LTNil && mt.Type() != glua.LTTable {
		l.TypeError(2, glua.LTTable)
	}
	if old, ok := tb.Metatable.(*glua.LTable); ok && old.RawGetString("__metatable") != glua.LNil {
		fail(l, "cannot change a protected metatable")
	}
	tb.Metatable = mt
	l.Push(tb)
	return 1
}

func baseIpairs(l *glua.LState) int {
	tb := l.CheckTable(1)
	l.Push(of(l).lib.ipairs)
	l.Push(tb)
	l.Push(glua.LNumber(0))
	return 3
}

func ipairsNext(l *glua.LState) int {
	i := l.CheckInt(2) + 1
	v := l.CheckTable(1).RawGetInt(i)
	if v == glua.LNil {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(i))
	l.Push(v)
	return 2
}

func basePairs(l *glua.LState) int {
	tb := l.CheckTable(1)
	l.Push(of(l).lib.next)
	l.Push(tb)
	l.Push(glua.LNil)
	return 3
}

func baseNext(l *glua.LState) int {
	// A table walks over its deleted keys; charging more than one instruction has the
	// clock looked at often enough.
	of(l).charge(l, 4)
	k, v := l.CheckTable(1).Next(l.Get(2))
	if k == glua.LNil {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(k)
	l.Push(v)
	return 2
}

func basePcall(l *glua.LState) int {
	l.CheckAny(1)
	v, err := protected(l, l.GetTop()-1)
	if err != nil {
		l.Push(glua.LFalse)
		l.Push(v)
		return 2
	}
	l.Insert(glua.LTrue, 1)
	return l.GetTop()
}

// baseXpcall calls the handler after unwinding: inside, it could only look at the
// stack, and there is no debug library to do that with.
func baseXpcall(l *glua.LState) int {
	fn, handle := l.CheckAny(1), l.CheckAny(2)
	l.SetTop(0)
	l.Push(fn)
	v, err := protected(l, 0)
	if err == nil {
		l.Insert(glua.LTrue, 1)
		return l.GetTop()
	}
	l.Push(glua.LFalse)
	l.Push(handle)
	l.Push(v)
	l.Call(1, 1)
	return 2
}

// protected calls what is on the stack; an error's value is returned. Nothing stops
// the error of a killed run, and a panic of Go code kills it.
func protected(l *glua.LState, nargs int) (glua.LValue, error) {
	r := of(l)
	err := l.PCall(nargs, glua.MultRet, nil)
	if err == nil {
		return nil, nil
	}
	api, ok := err.(*glua.ApiError) //nolint:errorlint // PCall returns it unwrapped
	if !ok || api.Type == glua.ApiErrorPanic {
		r.kill(killPanic, clip("internal error: "+err.Error()))
	}
	if r.killed != "" {
		r.raise(l)
	}
	r.charge(l, 100) // unwinding and the traceback
	return api.Object, err
}

func baseRawEqual(l *glua.LState) int {
	l.Push(glua.LBool(l.RawEqual(l.CheckAny(1), l.CheckAny(2))))
	return 1
}

func baseRawGet(l *glua.LState) int {
	l.Push(l.CheckTable(1).RawGet(l.CheckAny(2)))
	return 1
}

func baseSelect(l *glua.LState) int {
	n := l.GetTop() - 1
	if s, ok := l.Get(1).(glua.LString); ok && s == "#" {
		l.Push(glua.LNumber(n))
		return 1
	}
	i := l.CheckInt(1)
	if i < 0 {
		i += n + 1
	}
	if i < 1 {
		fail(l, "bad argument #1 to select (index out of range)")
	}
	return max(0, n-i+1)
}

func baseToNumber(l *glua.LState) int {
	v := l.CheckAny(1)
	base := l.OptInt(2, 10)
	if base < 2 || base > 36 {
		fail(l, "bad argument #2 to tonumber (base out of range)")
	}
	l.Push(glua.LNil)
	switch v := v.(type) {
	case glua.LNumber:
		l.Push(v)
	case glua.LString:
		of(l).charge(l, 1+len(v)>>6)
		if n, ok := toNumber(string(v), base); ok {
			l.Push(glua.LNumber(n))
		}
	}
	return 1
}

func toNumber(s string, base int) (float64, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 400 { // no number that anyone writes; parsing a long one is slow
		return 0, false
	}
	if base != 10 {
		n, err := strconv.ParseInt(s, base, 64)
		return float64(n), err == nil
	}
	digits, neg := strings.CutPrefix(s, "-")
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		n, err := strconv.ParseUint(digits[2:], 16, 64)
		if neg {
			return -float64(n), err == nil
		}
		return float64(n), err == nil
	}
	// ParseFloat also takes "inf", "nan" and digits with underscores.
	if strings.Trim(s, "0123456789.+-eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil || math.IsInf(n, 0)
}

func baseToString(l *glua.LState) int {
	l.Push(glua.LString(text(l, l.CheckAny(1))))
	return 1
}

func baseType(l *glua.LState) int {
	l.Push(glua.LString(l.CheckAny(1).Type().String()))
	return 1
}

// text is tostring: unlike the stock one it shows no addresses of the program's memory.
func text(l *glua.LState, v glua.LValue) string {
	switch v := v.(type) {
	case glua.LString:
		return string(v)
	case glua.LNumber:
		return numberString(v)
	case glua.LBool, *glua.LNilType:
		return v.String()
	}
	if fn := l.GetMetaField(v, "__tostring"); fn != glua.LNil {
		l.Push(fn)
		l.Push(v)
		l.Call(1, 1)
		s, ok := l.Get(-1).(glua.LString)
		l.Pop(1)
		if !ok {
			fail(l, "'__tostring' must return a string")
		}
		return string(s)
	}
	return v.Type().String()
}

// numberString writes a number as Lua does: 14 significant digits, whole ones without a point.
func numberString(n glua.LNumber) string {
	f := float64(n)
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', 14, 64)
}
