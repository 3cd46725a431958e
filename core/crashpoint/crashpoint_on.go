//go:build crashpoints

// Package crashpoint, in a build for crash tests: see crashpoint.go.
package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
)

var (
	mu   sync.Mutex
	hits = map[string]int{}
)

// Hit counts a place. At the n-th hit of the name in WILDCAT_CRASH_AT="name:n" it
// appends the name to the file WILDCAT_CRASH_LOG and kills the process with SIGKILL.
func Hit(name string) {
	at, count, ok := strings.Cut(os.Getenv("WILDCAT_CRASH_AT"), ":")
	if !ok || at != name {
		return
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		panic("WILDCAT_CRASH_AT: want name:n, got " + at + ":" + count)
	}
	mu.Lock()
	defer mu.Unlock()
	hits[name]++
	if hits[name] != n {
		return
	}
	f, err := os.OpenFile(os.Getenv("WILDCAT_CRASH_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteString(name + "\n"); err != nil {
		panic(err)
	}
	if err := f.Sync(); err != nil {
		panic(err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		panic(err)
	}
	_ = self.Kill()
	select {} // SIGKILL is on its way; nothing after this point may run
}
