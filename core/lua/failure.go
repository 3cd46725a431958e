package lua

import (
	"fmt"
	"strings"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// Failure is the error of Rule.Eval: everything that is known about one failed run.
type Failure struct {
	Rule, File string
	// Line is where it happened, 0: unknown.
	Line    int
	Message string
	// Killed says which limit stopped the run ("instructions", "wall", "memory",
	// "tables", "pattern", "panic", "canceled"); "": an ordinary error.
	Killed  string
	EventID string
	// Instructions is what the run had used.
	Instructions int
	Took         time.Duration
	// Traceback is Lua's, several lines; Excerpt shows the line with its neighbours.
	Traceback, Excerpt string
}

// Error is one line; Detail has the rest.
func (f *Failure) Error() string {
	where := f.File
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("rule %s: %s: %s (event %s, %d instructions, %s)",
		f.Rule, where, f.Message, f.EventID, f.Instructions, f.Took.Round(10*time.Microsecond))
}

// Detail is Error with the source and the traceback below it.
func (f *Failure) Detail() string {
	parts := []string{f.Error()}
	for _, s := range []string{f.Excerpt, f.Traceback} {
		if s != "" {
			parts = append(parts, strings.TrimRight(s, "\n"))
		}
	}
	return strings.Join(parts, "\n")
}

// failure turns what a handler raised into a Failure. The run has not ended yet.
func (sc *script) failure(err error, r *run, took time.Duration) *Failure {
	line, msg := sc.src.locateError(err)
	f := &Failure{
		Rule: sc.name, File: sc.src.file, Line: line, Message: msg, Killed: r.killed,
		EventID: r.ev.ID, Instructions: r.used(), Took: took, Excerpt: sc.src.excerpt(line, 0),
	}
	if api, ok := err.(*glua.ApiError); ok { //nolint:errorlint // PCall returns it unwrapped
		f.Traceback = trace(api.StackTrace)
	}
	return f
}

// trace drops the frames of Go functions without a name, which say nothing.
func trace(s string) string {
	var keep []string
	for _, line := range strings.Split(s, "\n") {
		if strings.HasPrefix(line, "\t[G]: ?") || strings.Contains(line, "(anonymous)") {
			continue
		}
		for _, name := range []string{nameConcat, nameTable, nameSet, nameLen} {
			line = strings.ReplaceAll(line, "function "+name, "operator")
		}
		keep = append(keep, line)
	}
	return strings.Join(keep, "\n")
}
