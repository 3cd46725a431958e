package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/wildcathub/wildcat/core/store"
)

// Lock takes the data folder for this process, creating it if missing. While another
// process has it, Lock fails with store.ErrLocked. The lock goes with the process,
// however it ends. Take it before any database in the folder is opened, and call
// release after all of them are closed; release may be called twice.
func Lock(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	path := filepath.Join(dir, "lock")
	l := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: the data folder %s is in use%s; stop that process, or start this one with another folder",
			store.ErrLocked, dir, holder(path))
	}
	// The number is a help for people; where the system does not let a locked file be
	// written, there is none.
	_ = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	return func() error {
		if err := errors.Join(l.Unlock(), l.Close()); err != nil {
			return fmt.Errorf("unlock data folder %s: %w", dir, err)
		}
		return nil
	}, nil
}

// holder names the process that has the lock, if it can be read.
func holder(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" by process %d", pid)
}
