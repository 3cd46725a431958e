// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// This file is the connector's side of the conversion between the Go types and
// the contract: events come in, results go out. The hub's side is package wire.

func deliveryFrom(d *pb.Delivery) Delivery {
	return Delivery{
		Event:   eventFrom(d.GetEvent()),
		Attempt: int(d.GetAttempt()),
		Ordered: d.GetOrdered(),
		Prev:    d.GetPrev(),
	}
}

func eventFrom(e *pb.Event) *Event {
	if e == nil {
		return nil
	}
	out := &Event{
		ID:      e.GetId(),
		Type:    EventType(e.GetType()),
		Account: e.GetAccount(),
		Chat:    e.GetChat(),
		ChatAlt: e.GetChatAlt(),
		WAID:    e.GetWaId(),
		Seq:     e.GetSeq(),
		Time:    timeFrom(e.GetTime()),
		Message: messageFrom(e.GetMessage()),
		Tags:    e.GetTags(),
	}
	if len(e.GetRaw()) > 0 {
		out.Raw = json.RawMessage(e.GetRaw())
	}
	if r := e.GetReceipt(); r != nil {
		out.Receipt = &Receipt{Kind: r.GetKind(), MessageIDs: r.GetMessageIds(), From: r.GetFrom(), Device: int(r.GetDevice()), FromMe: r.GetFromMe()}
	}
	if r := e.GetReaction(); r != nil {
		out.Reaction = &Reaction{Target: targetFrom(r.GetTarget()), From: r.GetFrom(), FromMe: r.GetFromMe(), Emoji: r.GetEmoji()}
	}
	if r := e.GetEdit(); r != nil {
		out.Edit = &Edit{Target: targetFrom(r.GetTarget()), From: r.GetFrom(), FromMe: r.GetFromMe(), Text: r.GetText()}
	}
	if r := e.GetRevoke(); r != nil {
		out.Revoke = &Revoke{Target: targetFrom(r.GetTarget()), From: r.GetFrom(), FromMe: r.GetFromMe()}
	}
	if a := e.GetAccountChange(); a != nil {
		out.AccountChange = &AccountChange{State: a.GetState(), Reason: a.GetReason()}
	}
	return out
}

func messageFrom(m *pb.Message) *Message {
	if m == nil {
		return nil
	}
	out := &Message{
		ID:          m.GetId(),
		Chat:        m.GetChat(),
		From:        m.GetFrom(),
		Participant: m.GetParticipant(),
		SenderPN:    m.GetSenderPn(),
		SenderLID:   m.GetSenderLid(),
		FromMe:      m.GetFromMe(),
		Name:        m.GetName(),
		Time:        timeFrom(m.GetTime()),
		Kind:        Kind(m.GetKind()),
		Text:        m.GetText(),
		Mentions:    m.GetMentions(),
		Forwarded:   m.GetForwarded(),
		ViewOnce:    m.GetViewOnce(),
		Expires:     m.GetExpires(),
	}
	if d := m.GetMedia(); d != nil {
		out.Media = &Media{
			ID: d.GetId(), MIME: d.GetMime(), Name: d.GetName(), Size: d.GetSize(), SHA256: d.GetSha256(), Voice: d.GetVoice(),
			Duration: d.GetDuration(), Width: d.GetWidth(), Height: d.GetHeight(), Status: d.GetStatus(),
		}
	}
	if l := m.GetLocation(); l != nil {
		out.Location = &Location{Latitude: l.GetLatitude(), Longitude: l.GetLongitude(), Name: l.GetName(), Address: l.GetAddress(), Live: l.GetLive()}
	}
	for _, c := range m.GetContacts() {
		out.Contacts = append(out.Contacts, Contact{Name: c.GetName(), VCard: c.GetVcard()})
	}
	if p := m.GetPoll(); p != nil {
		out.Poll = &Poll{Question: p.GetQuestion(), Options: p.GetOptions(), Selectable: p.GetSelectable()}
	}
	if q := m.GetQuote(); q != nil {
		out.Quote = &Quote{ID: q.GetId(), Participant: q.GetParticipant(), Text: q.GetText(), HasMedia: q.GetHasMedia()}
	}
	return out
}

func targetFrom(t *pb.Target) Target {
	return Target{Chat: t.GetChat(), ID: t.GetId(), Sender: t.GetSender(), FromMe: t.GetFromMe()}
}

// timeFrom keeps the zero time: a missing timestamp is not 1970.
func timeFrom(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func resultTo(ticket uint64, r Result) *pb.Result {
	after := int64(0)
	if r.After > 0 {
		after = int64((r.After + time.Millisecond - 1) / time.Millisecond) // never shorter than asked
	}
	return &pb.Result{
		Ticket:       ticket,
		Status:       statusTo(r.Status),
		RetryAfterMs: after,
		Uncounted:    r.Uncounted,
		Limit:        clampInt32(r.Limit),
		Code:         clampInt32(r.Code),
		Reason:       clip(r.Reason, MaxReason),
		Body:         clip(r.Body, MaxBody),
	}
}

func statusTo(s Status) pb.Status {
	switch s {
	case OK:
		return pb.Status_STATUS_OK
	case Reject:
		return pb.Status_STATUS_REJECT
	case Disable:
		return pb.Status_STATUS_DISABLE
	default:
		return pb.Status_STATUS_RETRY
	}
}

func manifestTo(i Info) *pb.Manifest {
	return &pb.Manifest{
		Type:          i.Type,
		Version:       i.Version,
		Doc:           i.Doc,
		Schema:        i.Schema,
		InFlight:      uint32(max(0, min(i.InFlight, MaxCredit))), //nolint:gosec // bounded
		ContractMinor: ContractMinor,
	}
}

func outgoingTo(m Outgoing) *pb.Outgoing {
	return &pb.Outgoing{Account: m.Account, To: m.To, Text: m.Text, QuoteId: m.QuoteID, Mentions: m.Mentions}
}

// clip shortens s to n bytes and makes it valid UTF-8, which protobuf insists on:
// one bad byte in an answer would otherwise end the stream.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, size := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && size == 1 {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func clampInt32(n int) int32 {
	return int32(max(math.MinInt32, min(n, math.MaxInt32))) //nolint:gosec // bounded
}
