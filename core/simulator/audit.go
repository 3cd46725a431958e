package simulator

import (
	"errors"
	"fmt"
	"strings"
)

// Audit compares what should agree while nothing is under way: each device's queue with
// its own counts, and all queues with the journal, which is what a restart would bring back.
// Call it on a server that rests; otherwise it may see a stanza half way in.
func (s *Server) Audit() error {
	var problems []error
	waiting := map[string]bool{}
	for _, d := range s.Devices() {
		if err := d.audit(waiting); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", d.JID(), err))
		}
	}
	if s.journal == nil {
		return errors.Join(problems...)
	}
	values, err := s.journal.values()
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for key := range values {
		if strings.HasPrefix(key, "q/") && !waiting[key] {
			problems = append(problems, fmt.Errorf("%s is in the journal and in no queue", key))
		}
	}
	for key := range waiting {
		if values[key] == nil {
			problems = append(problems, fmt.Errorf("%s is in a queue and not in the journal", key))
		}
	}
	return errors.Join(problems...)
}

// audit checks one queue and adds the journal's keys of what waits in it.
func (d *Device) audit(waiting map[string]bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	unreleased := map[*entry]bool{}
	for _, e := range d.queue {
		if !e.released {
			unreleased[e] = true
			waiting[d.entryKey(e.seq)] = true
		}
	}
	named := 0
	for _, list := range d.byKey {
		for _, e := range list {
			if named++; !unreleased[e] {
				return fmt.Errorf("%s %s is released and can still be acknowledged", e.key.class, e.key.id)
			}
		}
	}
	if len(unreleased) != d.waiting || named != d.waiting {
		return fmt.Errorf("%d entries wait, %d are counted, %d can be acknowledged", len(unreleased), d.waiting, named)
	}
	return nil
}
