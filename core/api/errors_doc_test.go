package api

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// codes collects the codes of failures from sources, each with its status.
type codes struct {
	t     *testing.T
	found map[string]string
}

// Programs are told to look at the code: the manual must have each, with the status that comes
// with it, and no other.
func TestTheManualHasEveryErrorCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/rest.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## Error codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	manual := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d{3}) \\| \\S").FindAllStringSubmatch(section, -1) {
		require.NotContains(t, manual, row[1], "twice")
		manual[row[1]] = row[2]
	}
	have := codes{t: t, found: map[string]string{}}
	have.read(".", "bad", "absent")
	have.read("../keys", "malformed", "against") // the texts and codes of a *keys.Refusal
	require.Empty(t, cmp.Diff(have.found, manual), "- the sources, + the table in docs/rest.md")
}

// maker says where a function that makes a failure has its code, and which status that gets.
func maker(function string) (argument, status int) {
	switch function {
	case "bad":
		return 1, http.StatusBadRequest
	case "absent":
		return 1, http.StatusNotFound
	case "malformed":
		return 0, http.StatusBadRequest
	case "against":
		return 0, http.StatusConflict
	}
	return 0, 0
}

// read collects from the sources of a folder, in which the functions that are named make failures.
func (c codes) read(dir string, makers ...string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(c.t, err)
	before := len(c.found)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(c.t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				for _, name := range makers {
					if f, is := n.Fun.(*ast.Ident); is && f.Name == name {
						argument, status := maker(name)
						c.add(n.Args[argument], strconv.Itoa(status))
					}
				}
			case *ast.CompositeLit:
				if name, is := n.Type.(*ast.Ident); is && name.Name == "failure" {
					c.add(field(n, "code"), statusOf(field(n, "status")))
				}
			case *ast.AssignStmt: // an answer that has a body of its own: readyz
				for i, left := range n.Lhs {
					if at, is := left.(*ast.IndexExpr); is && textOf(at.Index) == "code" {
						c.add(n.Rhs[i], strconv.Itoa(http.StatusServiceUnavailable))
					}
				}
			}
			return true
		})
	}
	require.Greater(c.t, len(c.found), before, dir)
}

// add notes a code that is written down; one that is passed on is written down elsewhere.
func (c codes) add(code ast.Expr, status string) {
	name := textOf(code)
	if name == "" {
		return
	}
	before, twice := c.found[name]
	require.True(c.t, !twice || before == status, "%s has the statuses %s and %s", name, before, status)
	c.found[name] = status
}

func field(lit *ast.CompositeLit, name string) ast.Expr {
	for _, e := range lit.Elts {
		if kv, is := e.(*ast.KeyValueExpr); is {
			if key, is := kv.Key.(*ast.Ident); is && key.Name == name {
				return kv.Value
			}
		}
	}
	return nil
}

// textOf is the value of a text that is written down, else "".
func textOf(e ast.Expr) string {
	lit, is := e.(*ast.BasicLit)
	if !is {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

// statusOf is the number of http.Status…, or of statusClosed.
func statusOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		if e.Name == "statusClosed" {
			return strconv.Itoa(statusClosed)
		}
	case *ast.SelectorExpr:
		for status := http.StatusBadRequest; status <= http.StatusNetworkAuthenticationRequired; status++ {
			if words := http.StatusText(status); words != "" && "Status"+strings.ReplaceAll(words, " ", "") == e.Sel.Name {
				return strconv.Itoa(status)
			}
		}
	}
	return fmt.Sprintf("%T", e)
}
