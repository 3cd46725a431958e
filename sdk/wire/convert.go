// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wildcathub/wildcat/sdk"
	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Delivery converts one delivery. Strings that are no valid UTF-8 are repaired,
// because protobuf refuses them, and a refused message would end the stream for
// every chat, each time anew.
func Delivery(d sdk.Delivery) *pb.Delivery {
	return &pb.Delivery{
		Event:   Event(d.Event),
		Attempt: uint32(max(0, min(d.Attempt, math.MaxInt32))), //nolint:gosec // bounded
		Ordered: d.Ordered,
		Prev:    d.Prev,
	}
}

// Event converts an event; nil stays nil.
func Event(e *sdk.Event) *pb.Event {
	if e == nil {
		return nil
	}
	out := &pb.Event{
		Id:      text(e.ID),
		Type:    text(string(e.Type)),
		Account: text(e.Account),
		Chat:    text(e.Chat),
		ChatAlt: text(e.ChatAlt),
		WaId:    text(e.WAID),
		Seq:     e.Seq,
		Time:    stamp(e.Time),
		Message: message(e.Message),
		Tags:    texts(e.Tags),
		Raw:     e.Raw,
	}
	if r := e.Receipt; r != nil {
		out.Receipt = &pb.Receipt{Kind: text(r.Kind), MessageIds: texts(r.MessageIDs), From: text(r.From), Device: int32(max(0, min(r.Device, math.MaxInt32))), FromMe: r.FromMe} //nolint:gosec // bounded
	}
	if r := e.Reaction; r != nil {
		out.Reaction = &pb.Reaction{Target: target(r.Target), From: text(r.From), FromMe: r.FromMe, Emoji: text(r.Emoji)}
	}
	if r := e.Edit; r != nil {
		out.Edit = &pb.Edit{Target: target(r.Target), From: text(r.From), FromMe: r.FromMe, Text: text(r.Text)}
	}
	if r := e.Revoke; r != nil {
		out.Revoke = &pb.Revoke{Target: target(r.Target), From: text(r.From), FromMe: r.FromMe}
	}
	if a := e.AccountChange; a != nil {
		out.AccountChange = &pb.AccountChange{State: text(a.State), Reason: text(a.Reason)}
	}
	return out
}

func message(m *sdk.Message) *pb.Message {
	if m == nil {
		return nil
	}
	out := &pb.Message{
		Id:          text(m.ID),
		Chat:        text(m.Chat),
		From:        text(m.From),
		Participant: text(m.Participant),
		SenderPn:    text(m.SenderPN),
		SenderLid:   text(m.SenderLID),
		FromMe:      m.FromMe,
		Name:        text(m.Name),
		Time:        stamp(m.Time),
		Kind:        text(string(m.Kind)),
		Text:        text(m.Text),
		Mentions:    texts(m.Mentions),
		Forwarded:   m.Forwarded,
		ViewOnce:    m.ViewOnce,
		Expires:     m.Expires,
	}
	if d := m.Media; d != nil {
		out.Media = &pb.Media{
			Id: text(d.ID), Mime: text(d.MIME), Name: text(d.Name), Size: d.Size, Sha256: text(d.SHA256), Voice: d.Voice,
			Duration: d.Duration, Width: d.Width, Height: d.Height, Status: text(d.Status),
		}
	}
	if l := m.Location; l != nil {
		out.Location = &pb.Location{Latitude: l.Latitude, Longitude: l.Longitude, Name: text(l.Name), Address: text(l.Address), Live: l.Live}
	}
	for _, c := range m.Contacts {
		out.Contacts = append(out.Contacts, &pb.Contact{Name: text(c.Name), Vcard: text(c.VCard)})
	}
	if p := m.Poll; p != nil {
		out.Poll = &pb.Poll{Question: text(p.Question), Options: texts(p.Options), Selectable: p.Selectable}
	}
	if q := m.Quote; q != nil {
		out.Quote = &pb.Quote{Id: text(q.ID), Participant: text(q.Participant), Text: text(q.Text), HasMedia: q.HasMedia}
	}
	return out
}

func target(t sdk.Target) *pb.Target {
	return &pb.Target{Chat: text(t.Chat), Id: text(t.ID), Sender: text(t.Sender), FromMe: t.FromMe}
}

// Result converts an answer. An unknown status is a retry.
func Result(r *pb.Result) sdk.Result {
	out := sdk.Result{
		Status:    sdk.Retry,
		Uncounted: r.GetUncounted(),
		Limit:     int(r.GetLimit()),
		Code:      int(r.GetCode()),
		Reason:    short(r.GetReason(), sdk.MaxReason),
		Body:      short(r.GetBody(), sdk.MaxBody),
	}
	switch r.GetStatus() {
	case pb.Status_STATUS_OK:
		out.Status = sdk.OK
	case pb.Status_STATUS_REJECT:
		out.Status = sdk.Reject
	case pb.Status_STATUS_DISABLE:
		out.Status = sdk.Disable
	case pb.Status_STATUS_UNSPECIFIED, pb.Status_STATUS_RETRY:
	}
	if ms := r.GetRetryAfterMs(); ms > 0 {
		out.After = min(time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond)))*time.Millisecond, 24*time.Hour)
	}
	return out
}

// Info converts a manifest.
func Info(m *pb.Manifest) sdk.Info {
	out := sdk.Info{
		Type: m.GetType(), Version: m.GetVersion(), Doc: m.GetDoc(),
		InFlight: int(min(m.GetInFlight(), sdk.MaxCredit)),
	}
	if len(m.GetSchema()) > 0 {
		out.Schema = m.GetSchema()
	}
	return out
}

func outgoing(m *pb.Outgoing) sdk.Outgoing {
	return sdk.Outgoing{Account: m.GetAccount(), To: m.GetTo(), Text: m.GetText(), QuoteID: m.GetQuoteId(), Mentions: m.GetMentions()}
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func texts(ss []string) []string {
	for i, s := range ss {
		if !utf8.ValidString(s) {
			out := append([]string(nil), ss...) // the caller's slice is not ours to change
			for j := i; j < len(out); j++ {
				out[j] = text(out[j])
			}
			return out
		}
	}
	return ss
}

// short cuts what a connector in another language did not.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
