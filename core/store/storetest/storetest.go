// Package storetest is the conformance suite of package store: what every engine has
// to do, told in tests. An engine's own tests call Run, and RunReopen if its data
// outlives a Store; what is particular to an engine (syncs, files, plans) is tested there.
//
// The suite uses nothing but the seam. It does not depend on the order in which an
// engine lists chats or lanes, only on that order not changing.
package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// Run runs the suite. open returns an empty store each time; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"accounts", accountTests},
		{"append", appendTests},
		{"settle", settleTests},
		{"events", eventTests},
		{"aliases", aliasTests},
		{"messages", messageTests},
		{"sends", sendTests},
		{"deliveries", deliveryTests},
		{"outbox", outboxTests},
		{"webhooks", webhookTests},
		{"blobs", blobTests},
		{"kv", kvTests},
		{"leases", leaseTests},
		{"closing", closeTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, tt := range group.tests {
				t.Run(tt.name, func(t *testing.T) {
					s := open(t)
					t.Cleanup(func() { require.NoError(t, s.Close()) })
					tt.run(t, s)
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, s store.Store)
}

// at is a time within the suite; milliseconds are what a store keeps.
func at(seconds int) time.Time {
	return time.Date(2026, 11, 23, 3, 0, 0, 123e6, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// same compares records; an empty list is as good as none.
func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
}

// id is a derived id: 32 hex digits.
func id(i int) string { return fmt.Sprintf("%032x", i+0xabc) }

// message is event i of a chat.
func message(i int, account, chat string) *sdk.Event {
	return &sdk.Event{
		ID: id(i), Type: sdk.TypeMessage, Account: account, Chat: chat, Time: at(i),
		Message: &sdk.Message{
			ID: fmt.Sprintf("WA%d", i), Chat: chat, From: chat, SenderPN: chat,
			Time: at(i), Kind: sdk.KindText, Text: fmt.Sprintf("text %d <&>\u00e4", i),
		},
		Raw: []byte(`{"conversation":"x"}`),
	}
}

// plain is an event without a message row.
func plain(i int, account, chat string) *sdk.Event {
	return &sdk.Event{ID: id(i), Type: sdk.TypeUnparsed, Account: account, Chat: chat, Time: at(i)}
}

// add appends and returns the outcome.
func add(t *testing.T, s store.Store, ev *sdk.Event) store.Appended {
	t.Helper()
	a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 1})
	require.NoError(t, err)
	return a
}

// settlement is what event i causes: deliveries to the endpoints, and nothing sent.
func settlement(ev *sdk.Event, a store.Appended, endpoints ...string) *store.Settlement {
	st := &store.Settlement{
		EventID: a.ID, Account: ev.Account, Chat: a.Chat, Seq: a.Seq, Epoch: 1, Verdict: []byte(`{"v":1}`),
	}
	for _, e := range endpoints {
		st.Deliveries = append(st.Deliveries, store.Delivery{
			ID: deliveryID(a.ID, e), EventID: a.ID, Endpoint: e, Account: ev.Account, Chat: a.Chat, Seq: a.Seq,
			Partition: store.Partition(store.ChatRef{Account: ev.Account, Chat: a.Chat}), State: store.DeliveryQueued, Due: at(1), CreatedAt: at(1),
		})
	}
	return st
}

func deliveryID(event, endpoint string) string { return event[:24] + "@" + event[24:] + endpoint }

// queue appends event i of a chat and queues it to the endpoints.
func queue(t *testing.T, s store.Store, i int, account, chat string, endpoints ...string) *store.Settlement {
	t.Helper()
	ev := message(i, account, chat)
	st := settlement(ev, add(t, s, ev), endpoints...)
	require.NoError(t, s.Settle(t.Context(), st))
	return st
}

// reply is a send that a rule made of an event.
func reply(ev *sdk.Event, i int) store.Send {
	return store.Send{
		ID: fmt.Sprintf("%s-%d", ev.ID, i), Account: ev.Account, Chat: ev.Chat, WAID: fmt.Sprintf("3EB0%s%d", ev.ID, i), To: ev.Chat,
		Payload: []byte{0, 1, 2, byte(i)}, EventID: ev.ID, Rule: "ping", Index: i, Repeat: true,
		State: store.SendQueued, CreatedAt: at(2), UpdatedAt: at(2),
	}
}

// side runs fn n times side by side and fails the test on an error.
func side(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// seqs are the numbers of a chat's events in the order in which they are listed.
func seqs(t *testing.T, s store.Store, account, chat string) []uint64 {
	t.Helper()
	var out []uint64
	after := ""
	for {
		page, err := s.ListEvents(t.Context(), account, after, 7)
		require.NoError(t, err)
		for _, e := range page {
			if e.Event.Chat == chat {
				out = append(out, e.Event.Seq)
			}
			after = e.Event.ID
		}
		if len(page) < 7 {
			return out
		}
	}
}

// gapless fails unless the numbers are 1 to n, each once.
func gapless(t require.TestingT, numbers []uint64, n int) {
	sorted := slices.Sorted(slices.Values(numbers))
	require.Len(t, sorted, n)
	for i, v := range sorted {
		require.EqualValues(t, i+1, v, "numbers %v", sorted)
	}
}
