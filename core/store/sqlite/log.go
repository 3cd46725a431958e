package sqlite

import (
	"errors"
	"fmt"
	"os"
)

const (
	// logPages is how long the write-ahead log gets before it is copied into the
	// database file and begun anew from its start.
	logPages = 8000
	// logBytes is the log's size then, frame headers included, and a commit to spare.
	logBytes = (logPages + 256) * (4096 + 24)
)

// readyLog extends the log with zeros to the size that it reaches anyway. Until then
// each commit would make the file longer, and its fsync would also have to commit the
// file system's journal. Zeros are no frames to SQLite, which stops reading the log at
// the first one that is not signed by its header; fallocate would not do, since writing
// to extents that are not initialised is a change of metadata again.
func readyLog(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	zeros := make([]byte, 1<<20)
	for at := st.Size(); at < logBytes; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return fmt.Errorf("extend log: %w", err)
		}
	}
	return f.Sync()
}
