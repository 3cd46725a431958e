// Package deploy_test checks the files of this folder as far as that is possible without an
// engine that runs them: that what they refer to is there, that the hub accepts each
// configuration, and that nobody is let in by mistake. The module in schema/ checks their fields.
package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// checkAll makes every check of this folder.
func checkAll(files fs.FS, needed []string) problems {
	var all problems
	all = append(all, checkDockerfile(files, needed)...)
	for _, name := range []string{"deploy/compose/one.yaml", "deploy/compose/several.yaml"} {
		all = append(all, checkCompose(files, name)...)
	}
	for _, dir := range []string{"deploy/kubernetes/one", "deploy/kubernetes/several"} {
		all = append(all, checkKubernetes(files, dir)...)
	}
	return all
}

// checkout is what the checks read, as a copy that can be changed.
func checkout(t *testing.T) fstest.MapFS {
	t.Helper()
	top := os.DirFS("..")
	files := fstest.MapFS{}
	add := func(name string) {
		data, err := fs.ReadFile(top, name)
		require.NoError(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	require.NoError(t, fs.WalkDir(top, "deploy", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			add(name)
		}
		return err
	}))
	add("go.mod")
	add("go.sum")
	add("core/api/openapi.yaml")
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, e := range entries { // what is copied from the top
		if e.IsDir() && files[e.Name()] == nil {
			files[e.Name()+"/x"] = &fstest.MapFile{}
		}
	}
	return files
}

// packages are the folders, relative to the top, that the hub is built from.
func packages(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-f", "{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", "../cmd/wildcat").CombinedOutput()
	require.NoError(t, err, string(out))
	top, err := filepath.Abs("..")
	require.NoError(t, err)
	if real, err := filepath.EvalSymlinks(top); err == nil {
		top = real
	}
	var dirs []string
	for _, dir := range strings.Fields(string(out)) {
		rel, err := filepath.Rel(top, dir)
		require.NoError(t, err)
		dirs = append(dirs, filepath.ToSlash(rel))
	}
	require.Contains(t, dirs, "core/app")
	return dirs
}

func TestEverythingThatTheFilesReferToIsThere(t *testing.T) {
	require.Empty(t, checkAll(checkout(t), packages(t)))
}
