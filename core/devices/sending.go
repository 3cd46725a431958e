package devices

import (
	"context"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// Send is one message on its way out. It keeps the send's use of sessions apart from
// decryptions: whatsmeow reads the sessions of all recipients, encrypts, and writes them
// back, with no lock against a message of the same peer that is decrypted in between.
// The later write would undo the earlier one, and what the peer sends next in its new
// session could not be decrypted. And it sees from the calls how far the send came.
type Send struct {
	d    *Device
	mu   sync.Mutex
	held bool
	// encrypting, ended, last: see MayHaveLeft.
	encrypting, ended, last bool
	// secrets, and the sender keys of these names, wait to be written with the sessions.
	secrets []store.MessageSecretInsert
	steps   [][2]string
}

type sendKey struct{}

// Sending returns the context for one send with this device. From the moment its
// sessions are read until they are written back nothing is decrypted. Done must be
// called when the send is over, whatever came of it.
func (d *Device) Sending(ctx context.Context) (context.Context, *Send) {
	s := &Send{d: d}
	return context.WithValue(ctx, sendKey{}, s), s
}

// Done ends the send's use of the device. Safe twice.
func (s *Send) Done() {
	s.release()
	s.putRest()
}

// MayHaveLeft says whether the message to this address can have been written to the
// wire, judged by the calls that whatsmeow makes before it: in doubt it can.
//
// A message to a person is written after its privacy token was looked up, which is the
// last call; one to a group after the mappings of its members were, unless they or the
// sessions could not be read or saved, which ends it. Whether sessions were saved proves
// nothing by itself: when nobody could be encrypted for there are none to save.
func (s *Send) MayHaveLeft(to types.JID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch to.Server {
	case types.DefaultUserServer, types.HiddenUserServer:
		return s.last
	case types.GroupServer, types.BroadcastServer:
		return s.encrypting && !s.ended
	}
	return true
}

func sendOf(ctx context.Context) *Send {
	s, _ := ctx.Value(sendKey{}).(*Send)
	return s
}

// came notes how far the send came. A nil receiver is part of no send.
func (s *Send) came(mark func(*Send)) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	mark(s)
}

// hold waits until no decryption is under way. A nil receiver, for calls that are part
// of no send, holds nothing.
func (s *Send) hold(ctx context.Context) error {
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

func (s *Send) release() {
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
