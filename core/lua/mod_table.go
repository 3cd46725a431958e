package lua

import (
	"sort"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// tableRows are the table library. Work is charged by the number of elements moved.
func tableRows() []row {
	return []row{
		{"concat", tableConcat},
		{"getn", tableGetn},
		{"insert", tableInsert},
		{"maxn", tableMaxn},
		{"remove", tableRemove},
		{"sort", tableSort},
		{"unpack", tableUnpack},
	}
}

func tableConcat(l *glua.LState) int {
	tb, sep := l.CheckTable(1), l.OptString(2, "")
	i, j := l.OptInt(3, 1), l.OptInt(4, tb.Len())
	r := of(l)
	var b strings.Builder
	for k := i; k <= j; k++ {
		r.charge(l, 1)
		v := tb.RawGetInt(k)
		if !glua.LVCanConvToString(v) {
			fail(l, "table.concat: element %d is a %s", k, v.Type())
		}
		b.WriteString(text(l, v))
		if k < j {
			b.WriteString(sep)
		}
		if b.Len() > r.lim.StringBytes {
			r.room(l, b.Len())
		}
	}
	return give(l, b.String())
}

func tableGetn(l *glua.LState) int {
	l.Push(glua.LNumber(l.CheckTable(1).Len()))
	return 1
}

func tableMaxn(l *glua.LState) int {
	l.Push(glua.LNumber(l.CheckTable(1).MaxN()))
	return 1
}

func tableInsert(l *glua.LState) int {
	tb := l.CheckTable(1)
	n := tb.Len()
	if n+1 >= maxArrayIndex {
		fail(l, "table.insert: a list holds at most %d elements", maxArrayIndex-1)
	}
	switch l.GetTop() {
	case 2:
		tb.Append(l.Get(2))
	case 3:
		at := l.CheckInt(2)
		if at < 1 || at > n+1 {
			fail(l, "table.insert: position %d is not between 1 and %d", at, n+1)
		}
		of(l).charge(l, 1+(n-at)>>5)
		if at == n+1 {
			tb.Append(l.Get(3))
		} else {
			tb.Insert(at, l.Get(3))
		}
	default:
		fail(l, "table.insert takes two or three arguments")
	}
	of(l).charge(l, 1)
	return 0
}

func tableRemove(l *glua.LState) int {
	tb := l.CheckTable(1)
	n := tb.Len()
	at := l.OptInt(2, n)
	if n == 0 || at < 1 || at > n {
		l.Push(glua.LNil)
		return 1
	}
	of(l).charge(l, 1+(n-at)>>5)
	l.Push(tb.Remove(at))
	return 1
}

func tableUnpack(l *glua.LState) int {
	tb := l.CheckTable(1)
	i, j := l.OptInt(2, 1), l.OptInt(3, tb.Len())
	if j < i {
		return 0
	}
	// The difference of two large numbers may wrap round; compare without it.
	if most := of(l).lim.Unpack; i < -maxArrayIndex || j > maxArrayIndex || j-i >= most {
		fail(l, "unpack: too many values, the limit is %d", most)
	}
	of(l).charge(l, (j-i)>>3)
	for k := i; k <= j; k++ {
		l.Push(tb.RawGetInt(k))
	}
	return j - i + 1
}

// sorter sorts a copy, so that the order function may do to the table what it likes.
type sorter struct {
	l      *glua.LState
	r      *run
	fn     *glua.LFunction
	values []glua.LValue
}

func (s *sorter) Len() int      { return len(s.values) }
func (s *sorter) Swap(i, j int) { s.values[i], s.values[j] = s.values[j], s.values[i] }

func (s *sorter) Less(i, j int) bool {
	a, b := s.values[i], s.values[j]
	s.r.charge(s.l, 3)
	if s.fn == nil {
		if sa, ok := a.(glua.LString); ok {
			if sb, ok := b.(glua.LString); ok {
				s.r.charge(s.l, min(len(sa), len(sb))>>8)
				return sa < sb
			}
		}
		return s.l.LessThan(a, b)
	}
	s.l.Push(s.fn)
	s.l.Push(a)
	s.l.Push(b)
	s.l.Call(2, 1)
	less := glua.LVAsBool(s.l.Get(-1))
	s.l.Pop(1)
	return less
}

func tableSort(l *glua.LState) int {
	tb := l.CheckTable(1)
	s := &sorter{l: l, r: of(l)}
	if l.Get(2) != glua.LNil {
		s.fn = l.CheckFunction(2)
	}
	n := tb.Len()
	s.r.take(l, 16*n)
	s.values = make([]glua.LValue, n)
	for i := range n {
		s.values[i] = tb.RawGetInt(i + 1)
	}
	sort.Sort(s)
	for i, v := range s.values {
		tb.RawSetInt(i+1, v)
	}
	return 0
}
