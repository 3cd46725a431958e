package lua

import (
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// patternRows are the functions of the string library that take patterns.
func patternRows() []row {
	return []row{
		{"find", strFind},
		{"match", strMatch},
		{"gmatch", strGmatch},
		{"gsub", strGsub},
	}
}

func newMatcher(l *glua.LState, src, pat string) *matcher {
	r := of(l)
	r.charge(l, 4)
	return &matcher{src: src, pat: pat, steps: &r.steps, depth: r.lim.PatternDepth}
}

// sharedMatcher is a matcher for one search that calls no Lua code; it is the
// run's own, so that a search allocates nothing.
func sharedMatcher(l *glua.LState, src, pat string) *matcher {
	r := of(l)
	r.charge(l, 4)
	m := &r.matcher
	m.src, m.pat, m.steps, m.depth, m.level, m.err = src, pat, &r.steps, r.lim.PatternDepth, 0, ""
	return m
}

// check raises what the matcher complained about. Spent steps end the run.
func (m *matcher) check(l *glua.LState) {
	switch m.err {
	case "":
	case errSteps:
		r := of(l)
		r.kill(killPattern, errSteps)
		r.raise(l)
	default:
		fail(l, "%s", m.err)
	}
}

// push pushes capture i, or the whole match when there is no capture.
func (m *matcher) push(l *glua.LState, i, s, e int) { l.Push(m.value(l, i, s, e)) }

func (m *matcher) value(l *glua.LState, i, s, e int) glua.LValue {
	if i >= m.level {
		if i != 0 {
			fail(l, "invalid capture index")
		}
		return glua.LString(m.src[s:e])
	}
	c := m.capture[i]
	if c.size == capPosition {
		return glua.LNumber(c.start + 1)
	}
	return glua.LString(m.src[c.start : c.start+c.size])
}

// pushAll pushes all captures, or the whole match when there is none.
func (m *matcher) pushAll(l *glua.LState, s, e int) int {
	n := max(m.level, 1)
	for i := range n {
		m.push(l, i, s, e)
	}
	return n
}

// start turns Lua's position argument into an index between 0 and len(s).
func start(l *glua.LState, arg int, s string) int {
	i := l.OptInt(arg, 1)
	if i < 0 {
		i += len(s) + 1
	}
	return min(max(i-1, 0), len(s))
}

func strFind(l *glua.LState) int {
	s, pat := l.CheckString(1), l.CheckString(2)
	i := start(l, 3, s)
	if glua.LVAsBool(l.Get(4)) || !strings.ContainsAny(pat, special) {
		of(l).charge(l, 1+(len(s)-i)>>8)
		at := strings.Index(s[i:], pat)
		if at < 0 {
			l.Push(glua.LNil)
			return 1
		}
		l.Push(glua.LNumber(i + at + 1))
		l.Push(glua.LNumber(i + at + len(pat)))
		return 2
	}
	pat, anchor := anchored(pat)
	m := sharedMatcher(l, s, pat)
	from, to := m.search(i, anchor)
	m.check(l)
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	l.Push(glua.LNumber(from + 1))
	l.Push(glua.LNumber(to))
	if m.level == 0 {
		return 2
	}
	return 2 + m.pushAll(l, from, to)
}

func strMatch(l *glua.LState) int {
	s, pat := l.CheckString(1), l.CheckString(2)
	i := start(l, 3, s)
	pat, anchor := anchored(pat)
	m := sharedMatcher(l, s, pat)
	from, to := m.search(i, anchor)
	m.check(l)
	if from < 0 {
		l.Push(glua.LNil)
		return 1
	}
	return m.pushAll(l, from, to)
}

// strGmatch finds the next match only when it is asked for.
func strGmatch(l *glua.LState) int {
	s := l.CheckString(1)
	pat, anchor := anchored(l.CheckString(2))
	at := 0
	l.Push(l.NewFunction(func(l *glua.LState) int {
		if at > len(s) {
			return 0
		}
		m := sharedMatcher(l, s, pat)
		from, to := m.search(at, anchor)
		m.check(l)
		if from < 0 {
			at = len(s) + 1
			return 0
		}
		at = to
		if to == from {
			at++
		}
		if anchor {
			at = len(s) + 1
		}
		return m.pushAll(l, from, to)
	}))
	return 1
}

func strGsub(l *glua.LState) int {
	s := l.CheckString(1)
	pat, anchor := anchored(l.CheckString(2))
	repl := l.CheckAny(3)
	switch repl.Type() {
	case glua.LTString, glua.LTTable, glua.LTFunction:
	case glua.LTNumber:
		repl = glua.LString(numberString(repl.(glua.LNumber)))
	default:
		fail(l, "bad argument #3 to gsub (string, table or function expected, got %s)", repl.Type())
	}
	limit := l.OptInt(4, len(s)+1)
	m := newMatcher(l, s, pat)
	r := of(l)
	var out strings.Builder
	n, i := 0, 0
	for n < limit {
		e := m.at(i)
		m.check(l)
		if e >= 0 {
			n++
			r.charge(l, 2)
			replace(l, &out, m, repl, i, e)
		}
		if e > i {
			i = e
		} else if i < len(s) {
			out.WriteByte(s[i])
			i++
		} else {
			break
		}
		if out.Len() > r.lim.StringBytes {
			r.room(l, out.Len())
		}
		if anchor {
			break
		}
	}
	out.WriteString(s[i:])
	r.room(l, out.Len())
	l.Push(glua.LString(out.String()))
	l.Push(glua.LNumber(n))
	return 2
}

// replace writes what stands for the match between s and e.
func replace(l *glua.LState, out *strings.Builder, m *matcher, repl glua.LValue, s, e int) {
	var v glua.LValue
	switch repl := repl.(type) {
	case glua.LString:
		expand(l, out, m, string(repl), s, e)
		return
	case *glua.LTable:
		v = l.GetTable(repl, m.value(l, 0, s, e))
	case *glua.LFunction:
		l.Push(repl)
		// A callee may start a match of its own, but never on this matcher.
		l.Call(m.pushAll(l, s, e), 1)
		v = l.Get(-1)
		l.Pop(1)
	}
	switch v := v.(type) {
	case glua.LString:
		out.WriteString(string(v))
	case glua.LNumber:
		out.WriteString(numberString(v))
	default:
		if glua.LVAsBool(v) {
			fail(l, "invalid replacement value (a %s)", v.Type())
		}
		out.WriteString(m.src[s:e])
	}
}

// expand writes a replacement string, in which %0 to %9 are captures.
func expand(l *glua.LState, out *strings.Builder, m *matcher, repl string, s, e int) {
	for i := 0; i < len(repl); i++ {
		if repl[i] != '%' {
			out.WriteByte(repl[i])
			continue
		}
		i++
		switch {
		case i == len(repl):
			fail(l, "invalid use of '%%' in replacement string: write %%%% for a percent sign")
		case repl[i] == '0':
			out.WriteString(m.src[s:e])
		case isDigit(repl[i]):
			switch v := m.value(l, int(repl[i]-'1'), s, e).(type) {
			case glua.LString:
				out.WriteString(string(v))
			case glua.LNumber:
				out.WriteString(numberString(v))
			}
		default:
			out.WriteByte(repl[i])
		}
		if out.Len() > of(l).lim.StringBytes {
			of(l).room(l, out.Len())
		}
	}
}
