package simulator

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"sync"
)

// openMemory makes the journal of a server without a folder: the same map, without a file,
// so that a snapshot can be taken of it.
func openMemory() *journal {
	j := &journal{memory: map[string][]byte{}}
	j.cond = sync.NewCond(&j.mu)
	return j
}

// remind is commit without a file; mu is held. Values are copied, since a batch's buffer
// would live as long as the last of its values.
func (j *journal) remind(b *batch) error {
	if j.err != nil {
		return j.err
	}
	for _, o := range b.ops {
		if o.len < 0 {
			delete(j.memory, o.key)
		} else {
			j.memory[o.key] = bytes.Clone(b.buf[o.at : o.at+o.len])
		}
	}
	return nil
}

// values returns everything that is committed at one instant. The values must not be changed.
func (j *journal) values() (map[string][]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.busy {
		j.cond.Wait()
	}
	switch {
	case j.memory != nil:
		return maps.Clone(j.memory), nil
	case j.file == nil:
		return nil, os.ErrClosed
	}
	// Writers wait meanwhile: a compaction would take the file away.
	out := make(map[string][]byte, len(j.index))
	for key, p := range j.index {
		value := make([]byte, p.len)
		if _, err := j.file.ReadAt(value, p.at); err != nil {
			return nil, fmt.Errorf("read %s: %w", j.path, err)
		}
		out[key] = value
	}
	return out, nil
}
