package devices

import (
	"context"
	"sync"
)

// sending keeps one send's use of sessions apart from decryptions. whatsmeow reads the
// sessions of all recipients, encrypts, and writes them back, with no lock against a
// message of the same peer that is decrypted in between: the later write would undo the
// earlier one, and what the peer sends next in its new session could not be decrypted.
type sending struct {
	d    *Device
	mu   sync.Mutex
	held bool
}

type sendingKey struct{}

// Sending returns the context for one send with this device. From the moment its
// sessions are read until they are written back nothing is decrypted. done must be
// called when the send is over, whatever came of it; safe twice.
func (d *Device) Sending(ctx context.Context) (sctx context.Context, done func()) {
	s := &sending{d: d}
	return context.WithValue(ctx, sendingKey{}, s), s.release
}

func sendingOf(ctx context.Context) *sending {
	s, _ := ctx.Value(sendingKey{}).(*sending)
	return s
}

// hold waits until no decryption is under way. A nil receiver, for calls that are part
// of no send, holds nothing.
func (s *sending) hold(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil
	}
	if err := s.d.takeSessions(ctx); err != nil {
		return err
	}
	s.held = true
	return nil
}

func (s *sending) release() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		s.held = false
		s.d.giveSessions()
	}
}

// takeSessions makes the caller the only one who reads and writes sessions.
func (d *Device) takeSessions(ctx context.Context) error {
	select {
	case d.sessions <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Device) giveSessions() { <-d.sessions }
