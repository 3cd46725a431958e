// SPDX-License-Identifier: Apache-2.0

package sdktest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

func message(chat string, seq uint64) *sdk.Event {
	chat += "@s.whatsapp.net"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seq) * time.Second) //nolint:gosec // small
	return &sdk.Event{
		ID: fmt.Sprintf("%016x%016x", len(chat), seq), Type: sdk.TypeMessage, Account: "acc", Chat: chat, Seq: seq, Time: at,
		Message: &sdk.Message{
			ID: fmt.Sprintf("3EB0%018d", seq), Chat: chat, From: chat, SenderPN: chat, Name: "Zoë \u2603",
			Time: at, Kind: sdk.KindText, Text: "hello\nworld \"quoted\" \u0000 \U0001F600",
		},
	}
}

// samples are one event of each type, messages of several kinds, and a type that
// does not exist yet.
func samples() []*sdk.Event {
	target := sdk.Target{Chat: "c@s.whatsapp.net", ID: "3EB0AA", Sender: "c@s.whatsapp.net"}
	var out []*sdk.Event
	add := func(change func(*sdk.Event)) {
		e := message("samples", uint64(len(out)+1))
		change(e)
		out = append(out, e)
	}
	other := func(typ sdk.EventType, change func(*sdk.Event)) {
		add(func(e *sdk.Event) {
			e.Type, e.Message = typ, nil
			change(e)
		})
	}
	add(func(*sdk.Event) {})
	add(func(e *sdk.Event) { e.Message.Text = "" })
	add(func(e *sdk.Event) {
		e.Message.Kind = sdk.KindImage
		e.Message.Media = &sdk.Media{ID: "m1", MIME: "image/jpeg", Size: 1, Status: "pending"}
	})
	add(func(e *sdk.Event) {
		e.Message.Kind = sdk.KindLocation
		e.Message.Location = &sdk.Location{Latitude: -1.5, Longitude: 179.9}
	})
	add(func(e *sdk.Event) {
		e.Message.Kind = "hologram" // of a later version
		e.Raw = json.RawMessage(`{"hologramMessage":{}}`)
	})
	other(sdk.TypeReceipt, func(e *sdk.Event) { e.Receipt = &sdk.Receipt{Kind: "read", MessageIDs: []string{"3EB0AA"}} })
	other(sdk.TypeReaction, func(e *sdk.Event) { e.Reaction = &sdk.Reaction{Target: target, Emoji: "\U0001F44D"} })
	other(sdk.TypeEdit, func(e *sdk.Event) { e.Edit = &sdk.Edit{Target: target, Text: "better"} })
	other(sdk.TypeRevoke, func(e *sdk.Event) { e.Revoke = &sdk.Revoke{Target: target} })
	other(sdk.TypeAccount, func(e *sdk.Event) {
		e.Chat, e.AccountChange = "", &sdk.AccountChange{State: "connected"}
	})
	other(sdk.TypeUnparsed, func(e *sdk.Event) { e.Raw = json.RawMessage(`{"x":1}`) })
	add(func(e *sdk.Event) { e.Type = sdk.TypeUndecryptable; e.Message.Text = "" })
	other("future_thing", func(*sdk.Event) {})
	return out
}

// host is a Host in memory.
type host struct {
	mu   sync.Mutex
	kv   map[string][]byte
	sent map[string]string
}

func newHost() *host { return &host{kv: map[string][]byte{}, sent: map[string]string{}} }

// Send implements sdk.Host.
func (h *host) Send(_ context.Context, ref string, _ sdk.Outgoing) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sent[ref] == "" {
		h.sent[ref] = fmt.Sprintf("3EB0%018d", len(h.sent)+1)
	}
	return h.sent[ref], nil
}

// Media implements sdk.Host: there is one file, m1.
func (h *host) Media(_ context.Context, id string) (io.ReadCloser, error) {
	if id != "m1" {
		return nil, errors.New("no such media")
	}
	return io.NopCloser(bytes.NewReader([]byte("\xff\xd8\xff"))), nil
}

// Get implements sdk.Host.
func (h *host) Get(_ context.Context, key string) ([]byte, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.kv[key]
	return v, ok, nil
}

// Set implements sdk.Host.
func (h *host) Set(_ context.Context, key string, value []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if value == nil {
		delete(h.kv, key)
		return nil
	}
	h.kv[key] = bytes.Clone(value)
	return nil
}
