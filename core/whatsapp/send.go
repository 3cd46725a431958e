package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
)

// Send implements Sender. The caller bounds it: whatsmeow may otherwise wait for ever.
func (m *Meow) Send(ctx context.Context, out Outgoing) (Accepted, error) {
	to, err := parseJID(out.To)
	if err != nil {
		return Accepted{}, &RefusedError{Reason: "bad_address"}
	}
	var msg waE2E.Message
	if err := proto.Unmarshal(out.Payload, &msg); err != nil {
		return Accepted{}, &RefusedError{Reason: "bad_payload"}
	}
	if !m.ready.Load() || m.deps.Device.Failed() != nil {
		return Accepted{}, fmt.Errorf("%w: not connected", ErrNotSent)
	}
	failures := m.deps.Device.Failures()
	ctx, send := m.deps.Device.Sending(ctx)
	defer send.Done()
	// whatsmeow changes the message that it is given; ours is this call's own.
	resp, err := m.cli.SendMessage(ctx, to, &msg, whatsmeow.SendRequestExtra{ID: out.ID})
	if err != nil {
		return Accepted{}, classify(err, send.MayHaveLeft(to))
	}
	if m.deps.Device.Failures() != failures {
		// whatsmeow leaves out devices that it could not encrypt for, and says nothing.
		return Accepted{}, errors.New("send message: the device store failed meanwhile")
	}
	crashpoint.Hit("after_accept")
	if resp.Timestamp.IsZero() {
		resp.Timestamp = time.Now()
	}
	return Accepted{At: resp.Timestamp.UTC()}, nil
}

// classify tells what whatsmeow's error says about the message, which left says may have
// been written. What is not certain is uncertain: that includes ErrNotConnected, which
// can follow a write.
func classify(err error, left bool) error {
	switch {
	case errors.Is(err, whatsmeow.ErrNotLoggedIn), errors.Is(err, whatsmeow.ErrClientIsNil):
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	case errors.Is(err, whatsmeow.ErrServerReturnedError):
		code := serverCode(err)
		return &RefusedError{Code: code, Reason: serverReason(code)}
	// Checks that come before any write, and would come out the same again.
	case errors.Is(err, whatsmeow.ErrRecipientADJID), errors.Is(err, whatsmeow.ErrUnknownServer):
		return &RefusedError{Reason: "bad_address"}
	case errors.Is(err, whatsmeow.ErrBroadcastListUnsupported):
		return &RefusedError{Reason: "unsupported"}
	case errors.Is(err, whatsmeow.ErrNotInGroup):
		return &RefusedError{Code: 403, Reason: "not_in_group"}
	case errors.Is(err, whatsmeow.ErrGroupNotFound):
		return &RefusedError{Code: 404, Reason: "group_not_found"}
	case !left:
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	return fmt.Errorf("send message: %w", err)
}

// serverCode reads the number that whatsmeow puts behind its error; 0 if there is none.
func serverCode(err error) int {
	_, rest, _ := strings.Cut(err.Error(), whatsmeow.ErrServerReturnedError.Error())
	return number(strings.TrimSpace(rest))
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}

// serverReason is our stable word for the codes whose meaning is known.
func serverReason(code int) string {
	switch code {
	case 401, 403:
		return "forbidden"
	case 404:
		return "not_found"
	case 406:
		return "not_acceptable"
	case 429:
		return "rate_limited"
	case 463:
		return "new_chats_restricted"
	case 479:
		return "invalid_stanza"
	}
	return "server_error"
}

// messageForRetry finds what a device of the recipient's could not decrypt. whatsmeow
// remembers 256 messages of one connection; the store remembers all.
func (m *Meow) messageForRetry(requester, to types.JID, id types.MessageID) *waE2E.Message {
	if m.deps.Sends == nil {
		return nil
	}
	log := m.log.With("message_id", id)
	s, err := m.deps.Sends.SendByWAID(m.ctx, m.deps.Account, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		log.Warn("message for a retry was not found", "err", err)
		return nil
	}
	// Only its recipient may have it again.
	if s.State == store.SendQueued || !m.sameChat(s.To, to) {
		log.Warn("retry was asked for by another chat", "chat", text(plain(to)))
		return nil
	}
	var msg waE2E.Message // a new one each time: whatsmeow changes it
	if err := proto.Unmarshal(s.Payload, &msg); err != nil {
		log.Warn("stored message is unreadable", "err", err)
		return nil
	}
	return &msg
}

// sameChat compares by phone number and by LID: a message sent to one may be asked for by the other.
func (m *Meow) sameChat(sent string, asked types.JID) bool {
	a, err := parseJID(sent)
	if err != nil {
		return false
	}
	b := plain(asked)
	if a == b {
		return true
	}
	x, ok, err := m.conv.person(m.ctx, a)
	if err != nil || !ok {
		return false
	}
	return b == x.pn || b == x.lid
}
