//go:build unix

package connector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyWhatAHubHasLeftItselfIsRemoved(t *testing.T) {
	temp := runDir(t)
	t.Setenv("TMPDIR", temp)
	long := filepath.Join(t.TempDir(), strings.Repeat("x", maxRunDir), "run")
	require.NoError(t, os.Mkdir(filepath.Dir(long), 0o700))
	link := filepath.Join(t.TempDir(), "link-to-the-data-folder")
	require.NoError(t, os.Symlink(filepath.Dir(long), link))

	gone, err := privateDir(long, "a")
	require.NoError(t, err)
	info, err := os.Stat(gone)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, info.Mode().Perm())
	require.NoError(t, os.MkdirAll(filepath.Join(gone, "plugin-dir1"), 0o700))
	require.NoError(t, os.Symlink(link, filepath.Join(gone, "plugin-dir1", "out")))
	byLink, err := privateDir(filepath.Join(link, "run"), "b")
	require.NoError(t, err)

	other, err := privateDir(filepath.Join(t.TempDir(), "run"), "a")
	require.NoError(t, err)
	nobodys, err := privateDir("", "a")
	require.NoError(t, err)
	own := filepath.Join(temp, awayPrefix(long))
	open, file, pointing, named := own+"1", own+"2", own+"3", own+"x"
	require.NoError(t, os.Mkdir(open, 0o755))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(filepath.Dir(long), pointing))
	require.NoError(t, os.Mkdir(named, 0o700))

	require.Equal(t, 2, RemoveStale(long))
	require.NoDirExists(t, gone)
	require.NoDirExists(t, byLink)
	for _, stays := range []string{other, nobodys, open, file, pointing, named} {
		_, err := os.Lstat(stays)
		require.NoError(t, err)
		require.NoError(t, os.RemoveAll(stays))
	}
	require.DirExists(t, filepath.Dir(long), "what a link points to")
	require.Zero(t, RemoveStale(long))
	require.Zero(t, RemoveStale(""))
}

func TestARunDirKeepsWhatIsNoFolderForSockets(t *testing.T) {
	dir := runDir(t)
	gone, err := privateDir(dir, "a")
	require.NoError(t, err)
	require.Equal(t, dir, filepath.Dir(gone))
	keep := filepath.Join(dir, "backup-2")
	require.NoError(t, os.Mkdir(keep, 0o700))
	require.Equal(t, 1, RemoveStale(dir))
	require.NoDirExists(t, gone)
	require.NoError(t, os.Remove(keep))
}

func TestASocketsPathIsShortEnough(t *testing.T) {
	const library = len("/plugin-dir4294967295/plugin4294967295")
	random := len("4294967295")
	require.Less(t, maxRunDir+1+len(digest("", 4)+"-")+random+library, 104)
	require.Less(t, maxTempDir+1+len(awayPrefix("/a"))+random+library, 104)
}
