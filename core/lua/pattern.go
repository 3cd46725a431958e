package lua

import "strings"

// matcher matches one Lua pattern. It is the backtracking algorithm of Lua's own
// manual, with two bounds: every comparison takes a step from a budget that all
// matches of an event share, and recursion stops at a depth.
type matcher struct {
	src, pat string
	steps    *int // what is left
	depth    int  // what is left
	level    int  // captures begun
	capture  [maxCaptures]span
	err      string // first mistake; "" is none
}

type span struct{ start, size int }

const (
	maxCaptures   = 32
	capUnfinished = -1
	capPosition   = -2

	errSteps = "the pattern needs more steps than the budget of an event has"
	errDepth = "the pattern is too complex"
)

// special are the characters that make a pattern more than plain text.
const special = "^$*+?.([%-"

// anchored splits a leading ^ off the pattern.
func anchored(pat string) (string, bool) {
	if strings.HasPrefix(pat, "^") {
		return pat[1:], true
	}
	return pat, false
}

// at matches at exactly s; it returns where the match ends, or -1.
func (m *matcher) at(s int) int {
	m.level = 0
	e := m.match(s, 0)
	if e >= 0 {
		for _, c := range m.capture[:m.level] {
			if c.size == capUnfinished {
				return m.fail("unfinished capture")
			}
		}
	}
	return e
}

// search matches at s or behind it; anchor: only at s. It returns -1, -1 for none.
func (m *matcher) search(s int, anchor bool) (start, end int) {
	for ; s <= len(m.src); s++ {
		if e := m.at(s); e >= 0 {
			return s, e
		}
		if anchor || m.err != "" {
			break
		}
	}
	return -1, -1
}

func (m *matcher) fail(msg string) int {
	if m.err == "" {
		m.err = msg
	}
	return -1
}

// step takes one step; false when there is none left or a mistake was found.
func (m *matcher) step() bool {
	*m.steps--
	if *m.steps < 0 {
		m.fail(errSteps)
	}
	return m.err == ""
}

func (m *matcher) match(s, p int) int {
	if m.depth <= 0 {
		return m.fail(errDepth)
	}
	m.depth--
	e := m.items(s, p)
	m.depth++
	return e
}

// items matches the pattern from p on against the source from s on.
func (m *matcher) items(s, p int) int {
	for p < len(m.pat) {
		if !m.step() {
			return -1
		}
		switch m.pat[p] {
		case '(':
			if p+1 < len(m.pat) && m.pat[p+1] == ')' {
				return m.open(s, p+2, capPosition)
			}
			return m.open(s, p+1, capUnfinished)
		case ')':
			return m.closeCapture(s, p+1)
		case '$':
			if p+1 == len(m.pat) {
				if s == len(m.src) {
					return s
				}
				return -1
			}
		case '%':
			if p+1 < len(m.pat) {
				next, np, done := m.escape(s, p)
				if done {
					if next < 0 {
						return -1
					}
					s, p = next, np
					continue
				}
			}
		}
		ep := m.classEnd(p)
		if ep < 0 {
			return -1
		}
		var suffix byte
		if ep < len(m.pat) {
			suffix = m.pat[ep]
		}
		switch suffix {
		case '?':
			if s < len(m.src) && m.single(m.src[s], p, ep) {
				if e := m.match(s+1, ep+1); e >= 0 || m.err != "" {
					return e
				}
			}
			p = ep + 1
		case '*':
			return m.greedy(s, p, ep, 0)
		case '+':
			return m.greedy(s, p, ep, 1)
		case '-':
			return m.lazy(s, p, ep)
		default:
			if s >= len(m.src) || !m.single(m.src[s], p, ep) {
				return -1
			}
			s++
			p = ep
		}
	}
	return s
}

// escape handles %b, %f and %1; done is false for a plain class.
func (m *matcher) escape(s, p int) (next, np int, done bool) {
	switch c := m.pat[p+1]; c {
	case 'b':
		return m.balance(s, p+2), p + 4, true
	case 'f':
		p += 2
		if p >= len(m.pat) || m.pat[p] != '[' {
			return m.fail("missing '[' after '%f' in pattern"), 0, true
		}
		ep := m.classEnd(p)
		if ep < 0 {
			return -1, 0, true
		}
		var before, after byte
		if s > 0 {
			before = m.src[s-1]
		}
		if s < len(m.src) {
			after = m.src[s]
		}
		if m.set(before, p, ep-1) || !m.set(after, p, ep-1) {
			return -1, 0, true
		}
		return s, ep, true
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return m.backReference(s, c), p + 2, true
	}
	return 0, 0, false
}

func (m *matcher) greedy(s, p, ep, least int) int {
	i := 0
	for s+i < len(m.src) && m.single(m.src[s+i], p, ep) {
		if !m.step() {
			return -1
		}
		i++
	}
	for ; i >= least; i-- {
		if e := m.match(s+i, ep+1); e >= 0 || m.err != "" {
			return e
		}
	}
	return -1
}

func (m *matcher) lazy(s, p, ep int) int {
	for {
		if e := m.match(s, ep+1); e >= 0 || m.err != "" {
			return e
		}
		if !m.step() || s >= len(m.src) || !m.single(m.src[s], p, ep) {
			return -1
		}
		s++
	}
}

func (m *matcher) open(s, p, what int) int {
	if m.level >= maxCaptures {
		return m.fail("too many captures")
	}
	m.capture[m.level] = span{s, what}
	m.level++
	e := m.match(s, p)
	if e < 0 {
		m.level--
	}
	return e
}

func (m *matcher) closeCapture(s, p int) int {
	i := m.level - 1
	for ; i >= 0 && m.capture[i].size != capUnfinished; i-- {
	}
	if i < 0 {
		return m.fail("invalid pattern capture")
	}
	m.capture[i].size = s - m.capture[i].start
	e := m.match(s, p)
	if e < 0 {
		m.capture[i].size = capUnfinished
	}
	return e
}

func (m *matcher) backReference(s int, digit byte) int {
	i := int(digit) - '1'
	if i < 0 || i >= m.level || m.capture[i].size == capUnfinished {
		return m.fail("invalid capture index")
	}
	c := m.capture[i]
	if c.size == capPosition {
		return -1 // a position is never text
	}
	*m.steps -= c.size >> 3
	if strings.HasPrefix(m.src[s:], m.src[c.start:c.start+c.size]) {
		return s + c.size
	}
	return -1
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		return m.fail("missing arguments to '%b' in pattern")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return -1
	}
	open, shut, depth := m.pat[p], m.pat[p+1], 1
	for s++; s < len(m.src); s++ {
		if !m.step() {
			return -1
		}
		switch m.src[s] {
		case shut:
			if depth--; depth == 0 {
				return s + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

// classEnd returns the index behind the single-character class at p, or -1.
func (m *matcher) classEnd(p int) int {
	c := m.pat[p]
	p++
	switch c {
	case '%':
		if p >= len(m.pat) {
			return m.fail("malformed pattern (ends with '%')")
		}
		return p + 1
	case '[':
		if p < len(m.pat) && m.pat[p] == '^' {
			p++
		}
		for first := true; first || p >= len(m.pat) || m.pat[p] != ']'; first = false {
			if p >= len(m.pat) {
				return m.fail("malformed pattern (missing ']')")
			}
			p++
			if m.pat[p-1] == '%' {
				if p >= len(m.pat) {
					return m.fail("malformed pattern (missing ']')")
				}
				p++
			}
		}
		return p + 1
	}
	return p
}

// single says whether c is in the class between p and ep.
func (m *matcher) single(c byte, p, ep int) bool {
	switch m.pat[p] {
	case '.':
		return true
	case '%':
		return class(c, m.pat[p+1])
	case '[':
		*m.steps -= (ep - p) >> 3
		return m.set(c, p, ep-1)
	}
	return m.pat[p] == c
}

// set says whether c is in the set whose '[' is at p and whose ']' is at end.
func (m *matcher) set(c byte, p, end int) bool {
	in := true
	p++
	if m.pat[p] == '^' {
		in = false
		p++
	}
	for ; p < end; p++ {
		switch {
		case m.pat[p] == '%':
			p++
			if class(c, m.pat[p]) {
				return in
			}
		case p+2 < end && m.pat[p+1] == '-':
			if m.pat[p] <= c && c <= m.pat[p+2] {
				return in
			}
			p += 2
		case m.pat[p] == c:
			return in
		}
	}
	return !in
}

// class says whether c is in the class %name. Letters are ASCII letters.
func class(c, name byte) bool {
	var in bool
	switch name | 0x20 {
	case 'a':
		in = isLower(c) || isUpper(c)
	case 'c':
		in = c < 0x20 || c == 0x7f
	case 'd':
		in = isDigit(c)
	case 'l':
		in = isLower(c)
	case 'p':
		in = c > 0x20 && c < 0x7f && !isLower(c) && !isUpper(c) && !isDigit(c)
	case 's':
		in = c == ' ' || c >= '\t' && c <= '\r'
	case 'u':
		in = isUpper(c)
	case 'w':
		in = isLower(c) || isUpper(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return name == c
	}
	if isUpper(name) {
		return !in
	}
	return in
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
