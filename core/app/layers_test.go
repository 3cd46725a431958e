package app_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/wildcathub/wildcat/"

// allowed says which of our own packages a folder's code (not its tests) may import.
// Arrows point one way; a new arrow is a decision, to be made here in the open. The
// longest matching folder counts; "…/" at the end of an import allows what is below.
var allowed = map[string][]string{
	"sdk":                         {"sdk/proto"},
	"sdk/proto":                   {},
	"sdk/wire":                    {"sdk", "sdk/proto"},
	"sdk/sdktest":                 {"sdk", "sdk/wire", "sdk/proto"},
	"examples":                    {"sdk"},
	"plugins":                     {"sdk", "plugins/webhook"},
	"plugins/webhook":             {"sdk"},
	"core/crashpoint":             {},
	"core/config":                 {"sdk"},
	"core/egress":                 {"core/config"},
	"core/store":                  {"sdk"},
	"core/store/storetest":        {"core/store", "sdk"},
	"core/store/sqlite":           {"core/store", "core/crashpoint", "sdk"},
	"core/store/mongo":            {"core/store", "core/crashpoint", "sdk"},
	"core/store/mongo/mongotest":  {},
	"core/devices":                {"core/devices/mongo", "core/devices/rows"},
	"core/devices/mongo":          {"core/devices/rows"},
	"core/devices/rows":           {},
	"core/devices/devicetest":     {"core/devices"},
	"core/whatsapp":               {"core/store", "core/devices", "core/config", "core/crashpoint", "sdk"},
	"core/pipeline":               {"core/store", "core/crashpoint", "sdk"},
	"core/deliver":                {"core/store", "core/config", "core/crashpoint", "sdk"},
	"core/partition":              {"core/store"},
	"core/send":                   {"core/whatsapp", "core/store", "core/crashpoint", "sdk"},
	"core/lua":                    {"core/pipeline", "core/config", "sdk"},
	"core/rules":                  {"core/lua", "core/pipeline", "core/store"},
	"core/connector":              {"core/deliver", "core/pipeline", "core/store", "core/config", "sdk", "sdk/wire", "sdk/proto"},
	"core/account":                {"core/whatsapp", "core/devices", "core/send", "core/store", "core/config", "sdk"},
	"core/keys":                   {"core/store"},
	"core/api":                    {"core/keys", "core/send", "core/store", "core/config", "core/whatsapp", "sdk"},
	"core/simulator":              {},
	"core/simulator/control":      {"core/simulator", "core/simulator/control/page"},
	"core/simulator/control/page": {"core/simulator"},
	"core/simulator/seed":         {"core/simulator"},
	"core/simulator/simtest":      {"core/simulator"},
	"core/scenario":               {},
	"core/legacy":                 {"core/config", "core/store", "core/whatsapp", "sdk"},
	"core/legacy/legacytest":      {},
	"core/migrate":                {"core/legacy", "core/pipeline", "core/store", "core/store/sqlite", "core/store/mongo", "core/devices", "core/devices/rows", "sdk"},
	"core/app":                    {"core/", "plugins", "sdk"},
	"cmd/wildcat":                 {"core/app", "core/config", "core/keys", "core/legacy", "core/migrate", "core/store", "core/store/mongo", "core/simulator", "core/simulator/", "core/scenario"},
	"cmd/wildcat-bench":           {"core/", "plugins", "sdk"},
}

func TestImportsFollowTheLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "data") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		seen++
		dir := filepath.ToSlash(filepath.Dir(rel))
		rule, ok := ruleOf(dir)
		if !ok {
			t.Errorf("%s: no row in the table of layers for this folder", rel)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, imp := range f.Imports {
			name, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module)
			if ours && name != dir && !permits(rule, name) {
				t.Errorf("%s imports %s, which the layers do not allow", rel, name)
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 100, "the walk found too few files to have proved anything")
}

func ruleOf(dir string) ([]string, bool) {
	for d := dir; d != "."; d = filepath.ToSlash(filepath.Dir(d)) {
		if rule, ok := allowed[d]; ok {
			return rule, true
		}
	}
	return nil, false
}

func permits(rule []string, name string) bool {
	return slices.ContainsFunc(rule, func(r string) bool {
		return name == r || strings.HasSuffix(r, "/") && strings.HasPrefix(name, r)
	})
}
