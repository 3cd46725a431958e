package lua

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// Problem is one mistake in a rule file.
type Problem struct {
	// File is the file as it was configured.
	File string
	// Line counts from 1; 0: the whole file.
	Line int
	// Column counts bytes from 1; 0: unknown.
	Column  int
	Message string
	// Excerpt shows the line with two lines either side, ending in a newline; may be "".
	Excerpt string
}

// String is "file:line: message" without the excerpt.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Problems are all mistakes of all files: the error of Load.
type Problems []Problem

// Error lists every problem with its excerpt.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
		if p.Excerpt != "" {
			b.WriteByte('\n')
			b.WriteString(strings.TrimSuffix(p.Excerpt, "\n"))
		}
	}
	return b.String()
}

// source is a file's text, kept for excerpts.
type source struct {
	file  string
	lines []string
}

func newSource(file string, text []byte) *source {
	s := strings.ReplaceAll(string(text), "\r\n", "\n")
	return &source{file: file, lines: strings.Split(s, "\n")}
}

// problem makes a Problem at a line of the file.
func (s *source) problem(line, column int, format string, args ...any) Problem {
	return Problem{
		File: s.file, Line: line, Column: column,
		Message: fmt.Sprintf(format, args...), Excerpt: s.excerpt(line, column),
	}
}

// excerpt shows two lines either side of the line, and a caret below the column.
func (s *source) excerpt(line, column int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	const most = 160
	var b strings.Builder
	for n := max(1, line-2); n <= min(len(s.lines), line+2); n++ {
		text := strings.ReplaceAll(s.lines[n-1], "\t", " ")
		if len(text) > most {
			text = strings.ToValidUTF8(text[:most], "") + "…"
		}
		mark := ' '
		if n == line {
			mark = '>'
		}
		fmt.Fprintf(&b, "%c %4d | %s\n", mark, n, text)
		if n == line && column > 0 && column <= most {
			fmt.Fprintf(&b, "       | %s^\n", strings.Repeat(" ", column-1))
		}
	}
	return b.String()
}

// column finds a word in a line; 0: not there.
func (s *source) column(line int, word string) int {
	if line < 1 || line > len(s.lines) {
		return 0
	}
	return strings.Index(s.lines[line-1], word) + 1
}

// first finds the first line with a word; 0, 0: there is none.
func (s *source) first(word string) (line, column int) {
	for n := range s.lines {
		if c := s.column(n+1, word); c > 0 {
			return n + 1, c
		}
	}
	return 0, 0
}

// find looks for a word on a line or up to ten lines below it, where a call that
// begins on that line may go on. It returns the line itself and 0 for none.
func (s *source) find(line int, word string) (at, column int) {
	for n := line; n < line+10; n++ {
		if c := s.column(n, word); c > 0 {
			return n, c
		}
	}
	return line, 0
}

// compileProblem reads the three kinds of errors that parser and compiler give:
// "x line:1(column:2) near 'y':  …", "x at EOF:  …", "compile error near line(1) x: …".
func (s *source) compileProblem(err error) Problem {
	var syntax *parse.Error
	if errors.As(err, &syntax) {
		msg := strings.TrimPrefix(syntax.Message, "syntax error: ")
		if syntax.Pos.Line == parse.EOF {
			last := len(s.lines)
			for last > 1 && strings.TrimSpace(s.lines[last-1]) == "" {
				last--
			}
			return s.problem(last, len(s.lines[last-1])+1, "%s: the file ends too early (is an 'end' missing?)", msg)
		}
		if syntax.Pos.Column == 0 && syntax.Message == "unterminated string" {
			// The parser noticed at the line's end, and stands on the next one.
			return s.problem(syntax.Pos.Line-1, s.column(syntax.Pos.Line-1, syntax.Token), "unterminated string")
		}
		// The parser's column is where the token ends or begins, by its kind.
		col := syntax.Pos.Column
		if tok := syntax.Token; tok != "" && syntax.Pos.Line <= len(s.lines) {
			text := s.lines[syntax.Pos.Line-1]
			from := max(0, min(col, len(text))-len(tok)-1)
			if i := strings.Index(text[from:], tok); i >= 0 {
				col = from + i + 1
			}
			return s.problem(syntax.Pos.Line, col, "%s near '%s'", msg, clip(tok))
		}
		return s.problem(syntax.Pos.Line, col, "%s", msg)
	}
	var compile *glua.CompileError
	if errors.As(err, &compile) {
		line := compile.Line
		if _, digits, ok := strings.Cut(compile.Message, "<goto> at line "); ok {
			// Its own line is the end of the function.
			if n, err := strconv.Atoi(digits); err == nil {
				line = n
			}
		}
		if strings.HasPrefix(compile.Message, "label '") || strings.HasPrefix(compile.Message, "<goto ") {
			line-- // it counts one too many
		}
		return s.problem(line, 0, "%s", explain(compile.Message))
	}
	var at *lineError
	if errors.As(err, &at) {
		return s.problem(at.line, 0, "%s", explain(at.msg))
	}
	return s.problem(0, 0, "%v", err)
}

// lineError is a mistake that our own passes over the source found.
type lineError struct {
	line int
	msg  string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

// locateError is locate for what a call returned. An error without a place, such as that of
// error("no", 0), was raised where the traceback first names the file.
func (s *source) locateError(err error) (line int, msg string) {
	line, msg = s.locate(errorText(err))
	api, ok := err.(*glua.ApiError) //nolint:errorlint // PCall returns it unwrapped
	if line > 0 || !ok {
		return line, msg
	}
	for frame := range strings.Lines(api.StackTrace) {
		if line, _ = s.locate(strings.TrimSpace(frame)); line > 0 {
			return line, msg
		}
	}
	return 0, msg
}

// locate splits the fourth format, that of the interpreter at run time,
// "file:line: message"; the line is 0 when there is none.
func (s *source) locate(text string) (line int, msg string) {
	rest, ok := strings.CutPrefix(text, s.file+":")
	if !ok {
		return 0, text
	}
	digits, msg, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, text
	}
	line, err := strconv.Atoi(digits)
	if err != nil {
		return 0, text
	}
	return line, strings.TrimSpace(msg)
}
