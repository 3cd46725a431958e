// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// eventLog writes each event once. The ids it has seen stand in the log itself, so
// that they survive a restart.
type eventLog struct {
	mu   sync.Mutex
	w    io.Writer
	sync func() error
	seen map[string]bool
}

// newLog makes a log; sync, if not nil, makes what was written durable.
func newLog(w io.Writer, sync func() error) *eventLog {
	return &eventLog{w: w, sync: sync, seen: map[string]bool{}}
}

// load reads the ids of an existing log. A last line that a crash cut short is
// ended, so that the next event stands on a line of its own.
func (l *eventLog) load(r io.Reader) error {
	br := bufio.NewReader(r)
	for {
		b, err := br.ReadBytes('\n')
		var x line
		if json.Unmarshal(b, &x) == nil && x.ID != "" && err == nil {
			l.seen[x.ID] = true
		}
		if errors.Is(err, io.EOF) {
			if len(b) > 0 {
				_, err = io.WriteString(l.w, "\n")
				return err
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// append writes an event unless it is there. When it returns nil, the event is durable.
func (l *eventLog) append(x line) error {
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[x.ID] {
		return nil
	}
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	if l.sync != nil {
		if err := l.sync(); err != nil {
			return fmt.Errorf("sync event: %w", err)
		}
	}
	l.seen[x.ID] = true
	return nil
}
