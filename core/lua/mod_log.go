package lua

import (
	"log/slog"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

// logRows are the log library; print is log.info. Lines carry what the rule's
// author passes: message texts are for him to leave out.
func logRows() []row {
	return []row{
		{"debug", logAt(slog.LevelDebug)},
		{"info", logInfo},
		{"warn", logAt(slog.LevelWarn)},
		{"error", logAt(slog.LevelError)},
	}
}

func logInfo(l *glua.LState) int { return logLine(l, slog.LevelInfo) }

func logAt(level slog.Level) glua.LGFunction {
	return func(l *glua.LState) int { return logLine(l, level) }
}

// logLine writes one line; lines beyond the limit of an event are dropped, and the
// last one says so.
func logLine(l *glua.LState, level slog.Level) int {
	r := of(l)
	r.charge(l, 10)
	r.lines++
	if r.lines > r.lim.LogLines {
		return 0
	}
	const most = 1000
	var b strings.Builder
	for i := 1; i <= l.GetTop() && b.Len() < most; i++ {
		if i > 1 {
			b.WriteByte('\t')
		}
		b.WriteString(text(l, l.Get(i)))
	}
	line := b.String()
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	attrs := []slog.Attr{slog.String("component", "lua"), slog.String("rule", r.rule), slog.String("line", line)}
	if r.ev != nil {
		attrs = append(attrs, slog.String("account", r.ev.Account), slog.String("event_id", r.ev.ID))
	}
	if r.lines == r.lim.LogLines {
		attrs = append(attrs, slog.Bool("last_line_of_event", true))
	}
	// The run's own context would count an instruction for every look at it.
	r.deps.Logger.LogAttrs(r.logContext(), level, "rule log", attrs...)
	return 0
}
