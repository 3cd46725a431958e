package lua

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// numbered joins n pieces, each with its number in it.
func numbered(n int, piece, between string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(piece, i)
	}
	return strings.Join(out, between)
}

// What the compiler refuses without saying where, or does wrong without noticing, is
// reported with its line.
func TestWhatIsTooMuchForTheCompilerIsReportedWithItsLine(t *testing.T) {
	const start = "local f = print\n\n" // two lines
	values := numbered(250, "%d", ",")
	tables := strings.Repeat("t={{},{},{},{},{},{}}\n", 11_000)
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"locals":                  {start + numbered(250, "local x%d = 1", "\n"), 198, "too many local variables"},
		"locals in one statement": {start + "f()\nlocal " + numbered(250, "x%d", ","), 4, "too many local variables"},
		"locals in a block":       {start + "do\n" + numbered(250, "local x%d = 1", "\n") + "\nend", 3, "too many local variables"},
		"locals of a function":    {start + "function g()\n" + numbered(250, "local x%d = 1", "\n") + "\nend", 3, "too many local variables"},
		"arguments":               {start + "f()\nf(" + values + ")\nf()", 4, "register overflow"},
		"arguments, and a goto":   {start + "goto out\nf(" + values + ")\n::out:: f()", 4, "register overflow"},
		"arguments in a function": {start + "function g()\n f(" + values + ")\nend", 3, "register overflow"},
		"far too many arguments":  {start + "f(" + values + "," + values + ")", 3, "register overflow"},
		"parameters":              {start + "function g(" + numbered(250, "x%d", ",") + ") end", 3, "register overflow"},
		"results":                 {start + "function g()\nreturn " + values + " end", 3, "register overflow"},
		"an assignment":           {start + numbered(250, "x%d", ",") + " = " + values, 3, "register overflow"},
		"calls in calls":          {start + "f(" + strings.Repeat("f(1,", 150) + "1" + strings.Repeat(")", 151), 3, "register overflow"},
		"a branch":                {start + "local t\nif f then\n" + strings.Repeat("t={};t={};t={};\n", 14_000) + "end", 4, "a block has more than 131071 instructions"},
		"a loop":                  {start + "local t\nfor i = 1, 2 do\n" + tables + "end", 4, "more than 131071 instructions"},
		"a loop in a function":    {start + "function g(t)\nwhile true do\n" + tables + "end\nend", 3, "more than 131071 instructions"},
		"variables from outside": {
			numbered(190, "local a%d = 1", "\n") + "\nfunction g()\n" + numbered(190, "local b%d = 1", "\n") + "\nlocal function h()\n" +
				numbered(190, "f(a%d, b%[1]d)", "\n") + "\nend\nend", 382, "more than 255 local variables of functions around it",
		},
		"a label twice":      {start + "::a::\nf()\n::a::\nf()", 5, "label 'a' already defined on line 3"},
		"a jump to a label":  {start + "goto a\nlocal x\n::a::\nf()", 5, "jumps into the scope of local 'x'"},
		"an error, no place": {start + "error('no', 0)", 3, "no"},
		"an error, no text":  {start + "local function g()\n error()\nend\ng()", 4, "error with a nil value"},
	} {
		bad := Check(files(t, "r.lua", c.text))
		require.Len(t, bad, 1, name)
		require.Equal(t, c.line, bad[0].Line, "%s: %s", name, bad[0].Message)
		require.Contains(t, bad[0].Message, c.want, name)
		require.Contains(t, bad[0].Excerpt, fmt.Sprintf("> %4d | ", c.line), name)
	}
}
