package lua

import (
	"fmt"
	"math"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// strFormat is string.format with C's verbs only: gopher-lua passes the text to
// fmt.Sprintf, which would show the program's memory for a table.
func strFormat(l *glua.LState) int {
	format := l.CheckString(1)
	r := of(l)
	var b strings.Builder
	arg := 1
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		spec, verb, next := readSpec(l, format, i)
		i = next
		arg++
		b.WriteString(formatOne(l, spec, verb, arg))
		if b.Len() > r.lim.StringBytes {
			r.room(l, b.Len())
		}
		r.charge(l, 2)
	}
	return give(l, b.String())
}

// readSpec reads flags, width and precision, two digits each as in C Lua, so that a
// width cannot ask for memory.
func readSpec(l *glua.LState, format string, i int) (spec string, verb byte, at int) {
	from := i
	for i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0 {
		i++
	}
	if i-from > 5 {
		fail(l, "invalid format (repeated flags)")
	}
	digits := func() {
		n := 0
		for i < len(format) && isDigit(format[i]) {
			i++
			n++
		}
		if n > 2 {
			fail(l, "invalid format (width or precision longer than two digits)")
		}
	}
	digits()
	if i < len(format) && format[i] == '.' {
		i++
		digits()
	}
	if i >= len(format) {
		fail(l, "invalid format (ends with '%%')")
	}
	return "%" + format[from:i], format[i], i
}

func formatOne(l *glua.LState, spec string, verb byte, arg int) string {
	switch verb {
	case 'd', 'i':
		return fmt.Sprintf(spec+"d", whole(l, arg))
	case 'u':
		//nolint:gosec // C's %u shows the bits
		return fmt.Sprintf(spec+"d", uint64(whole(l, arg)))
	case 'o', 'x', 'X':
		//nolint:gosec // as above
		return fmt.Sprintf(spec+string(verb), uint64(whole(l, arg)))
	case 'c':
		return fmt.Sprintf(spec+"s", string([]byte{byte(whole(l, arg))})) //nolint:gosec // one byte, as in C
	case 'e', 'E', 'f', 'g', 'G':
		n := float64(l.CheckNumber(arg))
		if math.IsInf(n, 0) || math.IsNaN(n) {
			return numberString(glua.LNumber(n))
		}
		return fmt.Sprintf(spec+string(verb), n)
	case 'q':
		return quote(l.CheckString(arg))
	case 's':
		s := text(l, l.CheckAny(arg))
		if spec == "%" {
			return s
		}
		return fmt.Sprintf(spec+"s", s)
	}
	fail(l, "invalid format '%s%c'", spec, verb)
	return ""
}

// whole is a number without its fraction.
func whole(l *glua.LState, arg int) int64 {
	n := float64(l.CheckNumber(arg))
	if n != n || n >= math.MaxInt64 || n <= math.MinInt64 {
		fail(l, "bad argument #%d to format (the number has no whole representation)", arg)
	}
	return int64(n)
}

// quote writes a string that Lua can read.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\000`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
