package whatsapp

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Types of package events that are parts of events, and never dispatched.
var parts = map[string]bool{
	"NewsletterMessageMeta": true, "MediaRetryError": true, "BlocklistChange": true,
}

func TestEveryEventOfWhatsmeowIsNamed(t *testing.T) {
	named := map[string]bool{}
	f, err := parser.ParseFile(token.NewFileSet(), "events.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		if c, ok := n.(*ast.CaseClause); ok {
			for _, e := range c.List {
				if star, ok := e.(*ast.StarExpr); ok {
					if sel, ok := star.X.(*ast.SelectorExpr); ok {
						named[sel.Sel.Name] = true
					}
				}
			}
		}
		return true
	})
	pkg, err := build.Import("go.mau.fi/whatsmeow/types/events", ".", build.FindOnly)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(pkg.Dir, "*.go"))
	require.NoError(t, err)
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, s := range g.Specs {
				ts := s.(*ast.TypeSpec)
				if _, isStruct := ts.Type.(*ast.StructType); !isStruct || !ts.Name.IsExported() || parts[ts.Name.Name] {
					continue
				}
				found++
				if !named[ts.Name.Name] {
					t.Errorf("events.go does not say what becomes of events.%s", ts.Name.Name)
				}
			}
		}
	}
	require.Greater(t, found, 60, "the walk found too few to have proved anything")
}

// The package must not know the simulator: what it can do with it, it can do with WhatsApp.
func TestNothingKnowsTheSimulator(t *testing.T) {
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			require.NotContains(t, i.Path.Value, "core/simulator", path)
		}
		return nil
	}))
}
