package lua

import (
	"strings"
	"sync"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// timeRows are the time library, in place of Lua's os.
func timeRows() []row {
	return []row{
		{"now", wildcatNow},
		{"parts", timeParts},
		{"format", timeFormat},
	}
}

// zones keeps time zones that rules have named: reading one opens a file.
type zones struct {
	mu    sync.Mutex
	known map[string]*time.Location
}

func newZones() *zones { return &zones{known: map[string]*time.Location{}} }

func (z *zones) get(name string) (*time.Location, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if loc, ok := z.known[name]; ok {
		return loc, nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	if len(z.known) < 64 {
		z.known[name] = loc
	}
	return loc, nil
}

// moment reads a time in Unix seconds (default: now) and a zone (default: UTC).
func moment(l *glua.LState, arg, zoneArg int) time.Time {
	r := of(l)
	r.charge(l, 20)
	t := r.deps.Now()
	if l.Get(arg) != glua.LNil {
		n := float64(l.CheckNumber(arg))
		if !(n > -1e11 && n < 1e12) {
			fail(l, "the time is out of range")
		}
		t = time.Unix(int64(n), 0)
	}
	name := l.OptString(zoneArg, "UTC")
	loc, err := r.zone.get(name)
	if err != nil {
		fail(l, "unknown time zone %q", clip(name))
	}
	return t.In(loc)
}

func timeParts(l *glua.LState) int {
	t := moment(l, 1, 2)
	of(l).table(l)
	tb := emptyTable()
	for name, n := range map[string]int{
		"year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "min": t.Minute(),
		"sec": t.Second(), "wday": int(t.Weekday()) + 1, "yday": t.YearDay(),
	} {
		tb.RawSetString(name, glua.LNumber(n))
	}
	l.Push(tb)
	return 1
}

// timeFormat takes C's verbs: %Y %m %d %H %M %S %y %a %A %b %B %p %I %j %z %Z %F %T %%.
func timeFormat(l *glua.LState) int {
	layout := l.CheckString(1)
	t := moment(l, 2, 3)
	var b strings.Builder
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' || i+1 == len(layout) {
			b.WriteByte(layout[i])
			continue
		}
		i++
		std, ok := strftime(layout[i])
		if !ok {
			fail(l, "time.format: unknown verb '%%%c'", layout[i])
		}
		b.WriteString(t.Format(std))
		if b.Len() > of(l).lim.StringBytes {
			of(l).room(l, b.Len())
		}
		of(l).charge(l, 2)
	}
	return give(l, b.String())
}

func strftime(verb byte) (string, bool) {
	switch verb {
	case 'Y':
		return "2006", true
	case 'm':
		return "01", true
	case 'd':
		return "02", true
	case 'H':
		return "15", true
	case 'M':
		return "04", true
	case 'S':
		return "05", true
	case 'y':
		return "06", true
	case 'a':
		return "Mon", true
	case 'A':
		return "Monday", true
	case 'b':
		return "Jan", true
	case 'B':
		return "January", true
	case 'p':
		return "PM", true
	case 'I':
		return "03", true
	case 'j':
		return "002", true
	case 'z':
		return "-0700", true
	case 'Z':
		return "MST", true
	case 'F':
		return time.DateOnly, true
	case 'T':
		return time.TimeOnly, true
	case '%':
		return "%", true
	}
	return "", false
}
