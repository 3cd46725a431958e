package lua

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// stringRows are the string library; its functions work on bytes, upper and lower
// on Unicode letters.
func stringRows() []row {
	return append([]row{
		{"byte", strByte},
		{"char", strChar},
		{"format", strFormat},
		{"len", strLen},
		{"lower", strLower},
		{"rep", strRep},
		{"reverse", strReverse},
		{"sub", strSub},
		{"upper", strUpper},
	}, patternRows()...)
}

// between turns Lua's first and last position into indexes of s.
func between(s string, i, j int) (from, to int) {
	if i < 0 {
		i += len(s) + 1
	}
	if j < 0 {
		j += len(s) + 1
	}
	from, to = max(i, 1)-1, min(j, len(s))
	return from, max(from, to)
}

func strByte(l *glua.LState) int {
	s := l.CheckString(1)
	i := l.OptInt(2, 1)
	from, to := between(s, i, l.OptInt(3, i))
	to = min(to, len(s))
	if n := to - from; n > of(l).lim.Unpack {
		fail(l, "string.byte: %d values are more than the limit of %d", n, of(l).lim.Unpack)
	}
	for k := from; k < to; k++ {
		l.Push(glua.LNumber(s[k]))
	}
	return max(0, to-from)
}

func strChar(l *glua.LState) int {
	b := make([]byte, l.GetTop())
	for i := range b {
		c := l.CheckInt(i + 1)
		if c < 0 || c > 255 {
			fail(l, "bad argument #%d to char (%d is not between 0 and 255)", i+1, c)
		}
		b[i] = byte(c)
	}
	return give(l, string(b))
}

// give pushes a string that was made, and accounts for it.
func give(l *glua.LState, s string) int {
	of(l).room(l, len(s))
	l.Push(glua.LString(s))
	return 1
}

func strLen(l *glua.LState) int {
	l.Push(glua.LNumber(len(l.CheckString(1))))
	return 1
}

func strLower(l *glua.LState) int {
	s := l.CheckString(1)
	of(l).take(l, len(s))
	return give(l, strings.ToLower(s))
}

func strUpper(l *glua.LState) int {
	s := l.CheckString(1)
	of(l).take(l, len(s))
	return give(l, strings.ToUpper(s))
}

func strRep(l *glua.LState) int {
	s, n, sep := l.CheckString(1), l.CheckInt(2), l.OptString(3, "")
	if n <= 0 {
		l.Push(glua.LString(""))
		return 1
	}
	r := of(l)
	unit := len(s) + len(sep)
	if unit > 0 && n > r.lim.StringBytes/unit+1 {
		fail(l, "string.rep: %d times %d bytes is longer than the limit of %d", n, unit, r.lim.StringBytes)
	}
	if unit == 0 {
		l.Push(glua.LString(""))
		return 1
	}
	r.room(l, n*len(s)+(n-1)*len(sep))
	if sep == "" {
		l.Push(glua.LString(strings.Repeat(s, n)))
	} else {
		l.Push(glua.LString(strings.Repeat(s+sep, n-1) + s))
	}
	return 1
}

func strReverse(l *glua.LState) int {
	s := l.CheckString(1)
	of(l).room(l, len(s))
	b := make([]byte, len(s))
	for i := range len(s) {
		b[len(s)-1-i] = s[i]
	}
	l.Push(glua.LString(b))
	return 1
}

func strSub(l *glua.LState) int {
	s := l.CheckString(1)
	from, to := between(s, l.CheckInt(2), l.OptInt(3, -1))
	if from >= len(s) {
		from, to = 0, 0
	}
	l.Push(glua.LString(s[from:to]))
	return 1
}
