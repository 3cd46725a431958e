package account

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// Whoever sees a state or a reason must find out what it means, and who has to do something.
func TestTheManualHasEveryStateAndReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/rest.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## States of an account\n")
	section, _, _ = strings.Cut(section, "\n## ")
	stateTable, reasonTable, _ := strings.Cut(section, `<a id="reasons"></a>`)
	states, reasons := constants(t)

	require.Empty(t, cmp.Diff(states, slices.Sorted(maps.Keys(rows(stateTable)))), "- states.go, + docs/rest.md")
	have := rows(reasonTable)
	require.Empty(t, cmp.Diff(reasons, slices.Sorted(maps.Keys(have))), "- states.go, + docs/rest.md")
	for reason, cells := range have {
		for _, state := range regexp.MustCompile("[a-z_]+").FindAllString(cells[0], -1) {
			require.Contains(t, states, state, reason)
		}
		require.NotEmpty(t, Text(reason), reason)
	}
}

// rows are the cells of a table's rows by the word that each begins with; all have four in all.
func rows(table string) map[string][]string {
	out := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([^|]*\\S) \\| ([^|]*\\S) \\|(.*)\\|$").FindAllStringSubmatch(table, -1) {
		out[m[1]] = m[2:]
	}
	return out
}

// constants are the values of the State… and Reason… constants.
func constants(t *testing.T) (states, reasons []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "states.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		for i, name := range spec.Names {
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			require.NoError(t, err)
			switch {
			case strings.HasPrefix(name.Name, "State"):
				states = append(states, value)
			case strings.HasPrefix(name.Name, "Reason"):
				reasons = append(reasons, value)
			}
		}
		return true
	})
	slices.Sort(states)
	slices.Sort(reasons)
	return states, reasons
}
