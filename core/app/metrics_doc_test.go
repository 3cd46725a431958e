package app_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// metricRow is a row of the table in docs/operations.md.
var metricRow = regexp.MustCompile("(?m)^\\| `(wildcat_[a-z_]+)(?:\\{([a-z,]+)\\})?` \\| \\S")

// metricsOfTheManual are the labels of each metric that the table names.
func metricsOfTheManual() (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		return nil, err
	}
	_, section, _ := strings.Cut(string(text), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	out := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(section, -1) {
		out[m[1]] = m[2]
	}
	return out, nil
}

// What is only counted once something went wrong is not in a scrape: the sources tell of it.
func TestTheManualHasEveryMetric(t *testing.T) {
	manual, err := metricsOfTheManual()
	require.NoError(t, err)
	have := map[string]string{}
	for _, dir := range []string{"core", "plugins", "cmd", "sdk"} {
		sourceMetrics(t, filepath.Join("..", "..", dir), have)
	}
	require.Empty(t, cmp.Diff(have, manual), "- the sources, + the table in docs/operations.md")
}

// sourceMetrics adds the metrics that the sources below a folder make, with their labels. What it
// cannot read fails the test: such a metric would be in no table.
func sourceMetrics(t *testing.T, dir string, out map[string]string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		options, read := 0, 0
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				require.NotContains(t, n.Path.Value, "prometheus/promauto", path)
			case *ast.CompositeLit:
				if strings.HasSuffix(ofPrometheus(n.Type), "Opts") {
					options++
				}
			case *ast.CallExpr:
				name, labels, is := metricOf(t, path, n)
				if !is {
					return true
				}
				if ofPrometheus(n.Fun) != "NewDesc" {
					read++
				}
				before, twice := out[name]
				require.True(t, !twice || before == labels, "%s: %s has other labels elsewhere", path, name)
				out[name] = labels
			}
			return true
		})
		require.Equal(t, options, read, "%s: write a metric's options where it is made", path)
		return nil
	}))
}

// metricOf is the name and the labels of a metric that a call makes; false if it makes none.
func metricOf(t *testing.T, path string, call *ast.CallExpr) (name, labels string, is bool) {
	t.Helper()
	fun := ofPrometheus(call.Fun)
	var label ast.Expr
	switch {
	case fun == "NewDesc":
		name, label = text(t, path, call.Args[0]), call.Args[2]
	case strings.HasPrefix(fun, "New") && len(call.Args) > 0:
		options, isLiteral := call.Args[0].(*ast.CompositeLit)
		if !isLiteral || !strings.HasSuffix(ofPrometheus(options.Type), "Opts") {
			return "", "", false
		}
		for _, e := range options.Elts {
			field := e.(*ast.KeyValueExpr)
			switch key := field.Key.(*ast.Ident).Name; key {
			case "Name":
				name = text(t, path, field.Value)
			case "Namespace", "Subsystem":
				require.Fail(t, "a metric's name is written as one", "%s: %s", path, key)
			}
		}
		if strings.HasSuffix(fun, "Vec") {
			label = call.Args[1]
		}
	default:
		return "", "", false
	}
	if list, isList := label.(*ast.CompositeLit); isList {
		var names []string
		for _, e := range list.Elts {
			names = append(names, text(t, path, e))
		}
		labels = strings.Join(names, ",")
	}
	require.Regexp(t, `^wildcat_`, name, path)
	return name, labels, true
}

// ofPrometheus is the name of what is taken from package prometheus, "" for anything else.
func ofPrometheus(e ast.Expr) string {
	if s, is := e.(*ast.SelectorExpr); is {
		if pkg, is := s.X.(*ast.Ident); is && pkg.Name == "prometheus" {
			return s.Sel.Name
		}
	}
	return ""
}

// text is the value of a text that is written down.
func text(t *testing.T, path string, e ast.Expr) string {
	t.Helper()
	lit, is := e.(*ast.BasicLit)
	require.True(t, is, "%s: a metric's names are written where it is made", path)
	s, err := strconv.Unquote(lit.Value)
	require.NoError(t, err)
	return s
}

// metricsInManual: everything that the hub shows of itself is in the table, whoever made it.
func metricsInManual(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "metrics-in-manual")
	manual, err := metricsOfTheManual()
	ts.Check(err)
	scrape, err := call(ts, []string{"GET", "/metrics"})
	ts.Check(err)
	seen := 0
	for lines := bufio.NewScanner(strings.NewReader(scrape)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 4 || words[0] != "#" || words[1] != "TYPE" || strings.HasPrefix(words[2], "go_") || strings.HasPrefix(words[2], "process_") {
			continue
		}
		if _, there := manual[words[2]]; !there && !strings.HasPrefix(words[2], "promhttp_") {
			ts.Fatalf("%s is not in docs/operations.md", words[2])
		}
		seen++
	}
	if seen < 20 {
		ts.Fatalf("%d metrics: %s", seen, scrape)
	}
}
