package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A socket's path must be shorter than 104 bytes (108 on Linux). The library and this file
// put up to 58 behind a RunDir and 70 behind a temporary folder.
const (
	maxRunDir  = 39
	maxTempDir = 32
)

// privateDir makes the folder for the sockets of one run of a program: in base if its path is
// short enough, or else in the temporary folder, under a name that tells whose it is.
func privateDir(base, name string) (string, error) {
	if base == "" {
		return os.MkdirTemp(tempDir(), "wildcat-")
	}
	abs, err := filepath.Abs(base)
	if err != nil {
		return "", err
	}
	if len(abs) <= maxRunDir || runtime.GOOS == "windows" {
		if err := os.MkdirAll(abs, 0o700); err != nil {
			return "", err
		}
		return os.MkdirTemp(abs, digest(name, 4)+"-")
	}
	return os.MkdirTemp(tempDir(), awayPrefix(abs))
}

// RemoveStale removes the folders for sockets that a hub which was killed has left, and says
// how many there were. Call it while no connector with this RunDir runs, here or in another
// process: the hub's lock on its data folder sees to that.
func RemoveStale(base string) int {
	abs, err := filepath.Abs(base)
	if err != nil || base == "" {
		return 0
	}
	return removeLike(abs, func(name string) bool {
		hash, number, ok := strings.Cut(name, "-")
		return ok && len(hash) == 8 && only(hash, "0123456789abcdef") && only(number, "0123456789")
	}) + removeLike(tempDir(), func(name string) bool {
		number, ok := strings.CutPrefix(name, awayPrefix(abs))
		return ok && only(number, "0123456789")
	})
}

// removeLike removes the folders in dir that have such a name and are this user's alone. A
// symbolic link is none, and none is followed.
func removeLike(dir string, like func(name string) bool) (removed int) {
	entries, _ := os.ReadDir(dir) // that it is not there is the usual case
	for _, e := range entries {
		if !like(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.IsDir() || !mine(info) {
			continue
		}
		if os.RemoveAll(filepath.Join(dir, e.Name())) == nil {
			removed++
		}
	}
	return removed
}

func tempDir() string {
	if temp := os.TempDir(); len(temp) <= maxTempDir || runtime.GOOS == "windows" {
		return temp
	}
	return "/tmp"
}

// awayPrefix begins the names of the folders that are not in abs and yet belong to it,
// whichever link leads there.
func awayPrefix(abs string) string {
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil { // abs itself is never made
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	return "wildcat-" + digest(abs, 6) + "-"
}

// digest is short, whatever the text: size bytes in hex.
func digest(text string, size int) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:size])
}

func only(s, letters string) bool { return s != "" && strings.Trim(s, letters) == "" }
