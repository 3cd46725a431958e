package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// slotSize is one delivery id in the journal, padded with zeros.
const slotSize = 64

// journal is a file of slots, one for each attempt under way. A process that dies
// leaves its slots filled: page cache outlives it, so nothing is fsynced.
type journal struct {
	mu   sync.Mutex
	file *os.File
	free []int
	next int
}

// openJournal counts a crash against everything that a predecessor left in flight.
func (o *Outbox) openJournal(ctx context.Context) error {
	if o.cfg.Journal == "" {
		return nil
	}
	old, err := os.ReadFile(o.cfg.Journal)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read delivery journal: %w", err)
	}
	if ids := journaled(old); len(ids) > 0 {
		if err := o.store.NoteCrash(ctx, ids); err != nil {
			return fmt.Errorf("note crash: %w", err)
		}
		o.log.Warn("the process died with deliveries in flight", "count", len(ids))
	}
	f, err := os.OpenFile(o.cfg.Journal, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open delivery journal: %w", err)
	}
	o.journal = &journal{file: f}
	return nil
}

func journaled(data []byte) []string {
	var ids []string
	for len(data) >= slotSize {
		if id := bytes.TrimRight(data[:slotSize], "\x00"); len(id) > 0 {
			ids = append(ids, string(id))
		}
		data = data[slotSize:]
	}
	return ids
}

// note fills a slot and returns it, or -1. That it could not be written is no reason
// not to deliver.
func (j *journal) note(id string) int {
	if len(id) > slotSize {
		return -1
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	slot := j.next
	if n := len(j.free); n > 0 {
		slot, j.free = j.free[n-1], j.free[:n-1]
	} else {
		j.next++
	}
	var b [slotSize]byte
	copy(b[:], id)
	_, _ = j.file.WriteAt(b[:], int64(slot)*slotSize)
	return slot
}

// clear empties a slot.
func (j *journal) clear(slot int) {
	if slot < 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var b [slotSize]byte
	_, _ = j.file.WriteAt(b[:], int64(slot)*slotSize)
	j.free = append(j.free, slot)
}

// close ends the journal; after a clean stop nothing was in flight.
func (j *journal) close(clean bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if clean {
		err = j.file.Truncate(0)
	}
	if err = errors.Join(err, j.file.Close()); err != nil {
		return fmt.Errorf("close delivery journal: %w", err)
	}
	return nil
}
