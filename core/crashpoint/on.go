//go:build crashpoints

package crashpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Enabled tells whether this build can crash at a named point.
const Enabled = true

// The environment is read once: it cannot change under a running program, and a
// lookup at each hit would distort the timing that the story is about.
var (
	plan = sync.OnceValue(readPlan)
	hits atomic.Int64
)

type crashPlan struct {
	name string
	at   int64
	log  string
}

func readPlan() crashPlan {
	name, n, found := strings.Cut(os.Getenv("WILDCAT_CRASH_AT"), ":")
	p := crashPlan{name: name, at: 1, log: os.Getenv("WILDCAT_CRASH_LOG")}
	if found {
		at, err := strconv.ParseInt(n, 10, 64)
		if err != nil || at < 1 {
			// A story with a misspelt plan must not pass by never crashing.
			panic(fmt.Sprintf("crashpoint: WILDCAT_CRASH_AT: %q is not a count from 1", n))
		}
		p.at = at
	}
	return p
}

// Hit marks a named point, and kills this process with SIGKILL if the environment
// says so. It does not return in that case.
func Hit(name string) {
	p := plan()
	if p.name == "" || p.name != name || hits.Add(1) != p.at {
		return
	}
	if p.log != "" {
		if err := appendLine(p.log, name); err != nil {
			panic(fmt.Sprintf("crashpoint: %v", err))
		}
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(fmt.Sprintf("crashpoint: kill: %v", err))
	}
	select {} // the signal is on its way; nothing after the point may run
}

func appendLine(path, name string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(name + "\n"); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
