package lua

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// The functions that rewritten code calls; see rewrite.

// slotBytes is what one slot of a gap costs: 16 bytes, and what the interpreter
// throws away while it grows the array one slot at a time.
const slotBytes = 64

// checkedConcat is a .. b .. c with the length checked before anything is joined.
func checkedConcat(l *glua.LState) int {
	n := l.GetTop()
	size, plain := 0, true
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case glua.LString:
			size += len(v)
		case glua.LNumber:
			size += len(numberString(v))
		default:
			plain = false
		}
	}
	if !plain {
		return concatSlow(l, n)
	}
	of(l).room(l, size)
	var b strings.Builder
	b.Grow(size)
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case glua.LString:
			b.WriteString(string(v))
		case glua.LNumber:
			b.WriteString(numberString(v))
		}
	}
	l.Push(glua.LString(b.String()))
	return 1
}

// concatSlow joins from the right, asking metatables where one operand is no text.
func concatSlow(l *glua.LState, n int) int {
	acc := l.Get(n)
	for i := n - 1; i >= 1; i-- {
		lhs := l.Get(i)
		if glua.LVCanConvToString(lhs) && glua.LVCanConvToString(acc) {
			a, b := text(l, lhs), text(l, acc)
			of(l).room(l, len(a)+len(b))
			acc = glua.LString(a + b)
			continue
		}
		fn := l.GetMetaField(lhs, "__concat")
		if fn == glua.LNil {
			fn = l.GetMetaField(acc, "__concat")
		}
		if fn == glua.LNil {
			bad := lhs
			if glua.LVCanConvToString(lhs) {
				bad = acc
			}
			fail(l, "attempt to join (..) a %s value", bad.Type())
		}
		l.Push(fn)
		l.Push(lhs)
		l.Push(acc)
		l.Call(2, 1)
		acc = l.Get(-1)
		l.Pop(1)
	}
	l.Push(acc)
	return 1
}

// checkedTable accounts for a table that a constructor has made.
func checkedTable(l *glua.LState) int {
	r := of(l)
	r.table(l)
	//nolint:forcetypeassert // only constructors call it
	if n := l.Get(1).(*glua.LTable).MaxN(); n > smallIndex {
		r.take(l, slotBytes*n)
	}
	return 1
}

// checkedSet is t[k] = v. The array part of a table is filled up to the index in
// one go, so that a far index is memory and time.
func checkedSet(l *glua.LState) int {
	t, k := l.Get(1), l.Get(2)
	if n, ok := k.(glua.LNumber); ok && n > smallIndex && n < maxArrayIndex {
		if tb, ok := t.(*glua.LTable); ok {
			if gap := int(n) - tb.MaxN(); gap > 1 {
				of(l).take(l, slotBytes*gap)
			}
		}
	}
	l.SetTable(t, k, l.Get(3))
	return 0
}

// checkedLen is #v. A list of which the end was deleted is walked from there, so the
// clock is looked at more often.
func checkedLen(l *glua.LState) int {
	r := of(l)
	switch v := l.Get(1).(type) {
	case glua.LString:
		l.Push(glua.LNumber(len(v)))
	case *glua.LTable:
		r.charge(l, 4)
		if fn := l.GetMetaField(v, "__len"); fn != glua.LNil {
			l.Push(fn)
			l.Push(v)
			l.Call(1, 1)
			return 1
		}
		l.Push(glua.LNumber(v.Len()))
	default:
		fail(l, "attempt to get the length (#) of a %s value", v.Type())
	}
	return 1
}
