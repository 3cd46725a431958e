//go:build unix

package connector

import (
	"io/fs"
	"os"
	"syscall"
)

// mine says whether a folder is this user's, and closed to others, as privateDir makes it.
func mine(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && info.Mode().Perm()&0o077 == 0
}
