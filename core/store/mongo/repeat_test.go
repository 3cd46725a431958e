package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// noon is the clock of tests that compare what two runs have stored.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func testEvent(i int, chat string) *sdk.Event {
	return &sdk.Event{
		ID: fmt.Sprintf("%032x", i), Type: sdk.TypeMessage, Account: "a", Chat: chat, Time: noon(),
		Message: &sdk.Message{ID: fmt.Sprint("WA", i), Chat: chat, From: chat, Time: noon(), Kind: sdk.KindText, Text: fmt.Sprint("text ", i)},
	}
}

func testSend(i int) store.Send {
	return store.Send{
		ID: fmt.Sprint("send-", i), Account: "a", Chat: "c", WAID: fmt.Sprint("3EB0", i), To: "c", Payload: []byte{byte(i)},
		EventID: fmt.Sprintf("%032x", 1), Rule: "r", Index: i, State: store.SendQueued, CreatedAt: noon(), UpdatedAt: noon(),
	}
}

func testSettlement(i int, chat string, seq uint64, endpoints ...string) *store.Settlement {
	st := &store.Settlement{EventID: fmt.Sprintf("%032x", i), Account: "a", Chat: chat, Seq: seq, Epoch: 1, Verdict: []byte("v")}
	for _, name := range endpoints {
		st.Deliveries = append(st.Deliveries, store.Delivery{
			ID: fmt.Sprint(name, "-", i), EventID: st.EventID, Endpoint: name, Account: "a", Chat: chat, Seq: seq, Due: noon(), CreatedAt: noon(),
		})
	}
	return st
}

func appendOf(i int, chat string) store.Append {
	return store.Append{Event: testEvent(i, chat), Epoch: 1}
}

// write is one write of a role: what is there before, and the write with its outcome.
type write struct {
	name   string
	before func(ctx context.Context, s *Store) error
	run    func(ctx context.Context, s *Store) (any, error)
}

func nothing(context.Context, *Store) error { return nil }

// discard is for a step whose outcome does not matter.
func discard[T any](_ T, err error) error { return err }

func withAccount(ctx context.Context, s *Store) error {
	return s.CreateAccount(ctx, store.Account{ID: "a", Name: "x", CreatedAt: noon(), UpdatedAt: noon()})
}

func withEvent(ctx context.Context, s *Store) error {
	return discard(s.AppendEvent(ctx, appendOf(1, "c")))
}

func withQueued(ctx context.Context, s *Store) error {
	for i := range 3 {
		err := discard(s.AppendEvent(ctx, appendOf(i+1, "c")))
		if err = errors.Join(err, s.Settle(ctx, testSettlement(i+1, "c", uint64(i+1), "hook"))); err != nil {
			return err
		}
	}
	return nil
}

func withSending(ctx context.Context, s *Store) error {
	if err := s.InsertSend(ctx, testSend(0)); err != nil {
		return err
	}
	return discard(s.MoveSend(ctx, store.SendMove{ID: "send-0", From: store.SendQueued, To: store.SendSending, Epoch: 1, At: noon()}))
}

func withNames(ctx context.Context, s *Store) error {
	for i, name := range []string{"pn", "lid"} {
		if err := discard(s.ResolveAlias(ctx, "a", name)); err != nil {
			return err
		}
		if err := discard(s.AppendEvent(ctx, appendOf(i+1, name))); err != nil {
			return err
		}
	}
	return nil
}

func withValue(ctx context.Context, s *Store) error { return s.SetKV(ctx, "n", "k", []byte("old"), 0) }

func withBlob(ctx context.Context, s *Store) error {
	return discard(s.PutBlob(ctx, store.BlobInfo{ID: "f", Account: "a", CreatedAt: noon()}, bytes.NewReader(make([]byte, 600<<10))))
}

func finishOf(i, attempt int) store.DeliveryFinish {
	return store.DeliveryFinish{
		ID: fmt.Sprint("hook-", i), Attempt: attempt, Epoch: 1, State: store.DeliveryQueued, Due: noon(), Counted: true, At: noon(),
		Record: &store.Attempt{N: 1, At: noon(), Status: "retry"},
	}
}

func only(err error) (any, error) { return nil, err }

// writes has every write of the seam.
func writes() []write {
	webhook := store.Webhook{ID: "wh_1", URL: "http://x/", CreatedAt: noon()}
	lease := func(ctx context.Context, s *Store) (store.Lease, error) {
		return s.AcquireLease(ctx, "l", "one", time.Hour)
	}
	return []write{
		{"Ping", nothing, func(ctx context.Context, s *Store) (any, error) { return only(s.Ping(ctx)) }},
		{"CreateAccount", nothing, func(ctx context.Context, s *Store) (any, error) { return only(withAccount(ctx, s)) }},
		{"UpdateAccount", withAccount, func(ctx context.Context, s *Store) (any, error) {
			return s.UpdateAccount(ctx, "a", func(a *store.Account) { a.Name += "y"; a.UpdatedAt = noon().Add(time.Second) })
		}},
		{"DeleteAccount", func(ctx context.Context, s *Store) error {
			return errors.Join(withAccount(ctx, s), withQueued(ctx, s), withBlob(ctx, s), withSending(ctx, s))
		}, func(ctx context.Context, s *Store) (any, error) { return only(s.DeleteAccount(ctx, "a")) }},
		{"AppendEvent", withEvent, func(ctx context.Context, s *Store) (any, error) { return s.AppendEvent(ctx, appendOf(2, "c")) }},
		{"AppendEvent of a large one", nothing, func(ctx context.Context, s *Store) (any, error) {
			a := appendOf(2, "c")
			a.Event.Message.Text = strings.Repeat("x", 70<<10)
			return s.AppendEvent(ctx, a)
		}},
		{"AppendEvent of an own-sent one", withSending, func(ctx context.Context, s *Store) (any, error) {
			a := appendOf(2, "c")
			a.Sent = &store.SentMark{SendID: "send-0", At: noon()}
			return s.AppendEvent(ctx, a)
		}},
		{"Settle", withEvent, func(ctx context.Context, s *Store) (any, error) {
			st := testSettlement(1, "c", 1, "hook", "plugin")
			st.Sends = []store.Send{testSend(0), testSend(1)}
			return st, s.Settle(ctx, st)
		}},
		{"ResolveAlias", nothing, func(ctx context.Context, s *Store) (any, error) { return s.ResolveAlias(ctx, "a", "pn", "lid") }},
		{"ResolveAlias that merges", withNames, func(ctx context.Context, s *Store) (any, error) {
			if err := discard(s.ResolveAlias(ctx, "a", "lid", "pn")); err != nil {
				return nil, err
			}
			return s.AppendEvent(ctx, appendOf(3, "lid"))
		}},
		{"InsertSend", nothing, func(ctx context.Context, s *Store) (any, error) { return only(s.InsertSend(ctx, testSend(0))) }},
		{"MoveSend to sending", withSending, func(ctx context.Context, s *Store) (any, error) {
			return s.MoveSend(ctx, store.SendMove{ID: "send-0", From: store.SendSending, To: store.SendSending, Epoch: 1, At: noon()})
		}},
		{"MoveSend to queued", withSending, func(ctx context.Context, s *Store) (any, error) {
			return s.MoveSend(ctx, store.SendMove{ID: "send-0", From: store.SendSending, To: store.SendQueued, Epoch: 1, At: noon()})
		}},
		{"FinishDeliveries", withQueued, func(ctx context.Context, s *Store) (any, error) {
			return s.FinishDeliveries(ctx, []store.DeliveryFinish{finishOf(1, 0), finishOf(2, 7), finishOf(3, 0), finishOf(1, 1)})
		}},
		{"RequeueDelivery", func(ctx context.Context, s *Store) error {
			return errors.Join(withQueued(ctx, s), discard(s.MoveDeliveries(ctx, "hook", store.DeliveryQueued, store.DeliveryDead, "", noon())))
		}, func(ctx context.Context, s *Store) (any, error) { return s.RequeueDelivery(ctx, "hook-1", noon()) }},
		{"MoveDeliveries", withQueued, func(ctx context.Context, s *Store) (any, error) {
			return s.MoveDeliveries(ctx, "hook", store.DeliveryQueued, store.DeliveryParked, "why", noon())
		}},

		{"CreateWebhook", nothing, func(ctx context.Context, s *Store) (any, error) {
			w, created, err := s.CreateWebhook(ctx, webhook)
			return fmt.Sprint(w.ID, created), err
		}},
		{"DeleteWebhook", func(ctx context.Context, s *Store) error {
			_, _, err := s.CreateWebhook(ctx, webhook)
			return err
		}, func(ctx context.Context, s *Store) (any, error) { return only(s.DeleteWebhook(ctx, "wh_1")) }},
		{"SaveEndpoint", nothing, func(ctx context.Context, s *Store) (any, error) {
			return only(s.SaveEndpoint(ctx, store.EndpointState{ID: "e", Reason: "r", UpdatedAt: noon()}))
		}},
		{"DeleteEndpoint", func(ctx context.Context, s *Store) error {
			return s.SaveEndpoint(ctx, store.EndpointState{ID: "e", UpdatedAt: noon()})
		}, func(ctx context.Context, s *Store) (any, error) { return only(s.DeleteEndpoint(ctx, "e")) }},
		{"SetKV", withValue, func(ctx context.Context, s *Store) (any, error) {
			return only(s.SetKV(ctx, "n", "k", []byte("new"), 0))
		}},
		{"SwapKV from none", nothing, func(ctx context.Context, s *Store) (any, error) {
			return only(s.SwapKV(ctx, "n", "k", nil, []byte("new")))
		}},
		{"SwapKV", withValue, func(ctx context.Context, s *Store) (any, error) {
			return only(s.SwapKV(ctx, "n", "k", []byte("old"), []byte("new")))
		}},
		{"SwapKV to none", withValue, func(ctx context.Context, s *Store) (any, error) {
			return only(s.SwapKV(ctx, "n", "k", []byte("old"), nil))
		}},
		{"AcquireLease", nothing, func(ctx context.Context, s *Store) (any, error) { return lease(ctx, s) }},
		{
			"RenewLeases", func(ctx context.Context, s *Store) error { return discard(lease(ctx, s)) },
			func(ctx context.Context, s *Store) (any, error) {
				return s.RenewLeases(ctx, []store.Lease{{Name: "l", Owner: "one", Epoch: 1}, {Name: "lost", Owner: "one", Epoch: 1}}, 2*time.Hour)
			},
		},
		{
			"RenewLease and ReleaseLease", func(ctx context.Context, s *Store) error { return discard(lease(ctx, s)) },
			func(ctx context.Context, s *Store) (any, error) {
				l := store.Lease{Name: "l", Owner: "one", Epoch: 1}
				got, err := s.RenewLease(ctx, l, 2*time.Hour)
				return got, errors.Join(err, s.ReleaseLease(ctx, l))
			},
		},
		{"AcquireLease of another's", func(ctx context.Context, s *Store) error {
			l, err := lease(ctx, s)
			return errors.Join(err, s.ReleaseLease(ctx, l))
		}, func(ctx context.Context, s *Store) (any, error) { return s.AcquireLease(ctx, "l", "two", time.Hour) }},
		{"PutBlob", nothing, func(ctx context.Context, s *Store) (any, error) { return only(withBlob(ctx, s)) }},
		{"DeleteBlob", withBlob, func(ctx context.Context, s *Store) (any, error) { return only(s.DeleteBlob(ctx, "f")) }},
	}
}

// state is everything that can be seen through the seam.
func state(t *testing.T, s *Store) map[string]any {
	t.Helper()
	ctx := t.Context()
	out := map[string]any{}
	see := func(name string, v any, err error) {
		t.Helper()
		require.NoError(t, err, name)
		out[name] = v
	}
	accounts, err := s.ListAccounts(ctx)
	see("accounts", accounts, err)
	events, err := s.ListEvents(ctx, "", "", 0)
	see("events", events, err)
	messages, _, err := s.ListMessages(ctx, store.MessageQuery{})
	see("messages", messages, err)
	sends, err := s.ListSends(ctx, store.SendQuery{})
	see("sends", sends, err)
	deliveries, err := s.ListDeliveries(ctx, store.DeliveryQuery{})
	see("deliveries", deliveries, err)
	chats, err := s.UnfinishedChats(ctx, store.ChatRef{}, 0)
	see("chats", chats, err)
	webhooks, err := s.ListWebhooks(ctx)
	see("webhooks", webhooks, err)
	endpoints, err := s.EndpointStates(ctx)
	see("endpoints", endpoints, err)
	value, err := s.GetKV(ctx, "n", "k")
	if !errors.Is(err, store.ErrNotFound) {
		see("value", value, err)
	}
	files, err := s.ListBlobs(ctx, store.BlobQuery{})
	see("files", files, err)
	for _, f := range files {
		r, _, err := s.OpenBlob(ctx, f.ID)
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		see("file", len(data), err)
	}
	for _, coll := range []string{collUploads, "media.chunks", collChats, collAliases} {
		n, err := s.count(ctx, coll, doc())
		see("documents in "+coll, n, err)
	}
	return out
}

// Every write is applied by the server and its answer lost, at each of the commands that
// it consists of: it has the outcome, and leaves the state, of one that went through.
func TestAWriteWhoseAnswerIsLostIsRepeatedWithoutHarm(t *testing.T) {
	uri := server(t)
	for _, w := range writes() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, uri)
			run := func(cutAt int) (any, map[string]any, bool) {
				s := openStore(t, Config{URI: p.URI, Database: database(t, uri)}, Deps{Now: noon})
				require.NoError(t, w.before(t.Context(), s))
				p.Cut(cutAt)
				got, err := w.run(t.Context(), s)
				require.NoError(t, err, "cut after write %d", cutAt)
				done := !p.Armed()
				p.Cut(0)
				return got, state(t, s), done
			}
			want, left, _ := run(0)
			for cutAt := 1; ; cutAt++ {
				got, now, cut := run(cutAt)
				require.Empty(t, cmp.Diff(want, got, cmpopts.EquateEmpty()), "outcome, cut after write %d", cutAt)
				require.Empty(t, cmp.Diff(left, now, cmpopts.EquateEmpty()), "state, cut after write %d", cutAt)
				if !cut {
					require.Greater(t, cutAt, 1, "nothing was cut")
					break
				}
			}
		})
	}
}

func TestAnOutageIsAnErrorWithinATimeAndThenOver(t *testing.T) {
	uri := server(t)
	p := startProxy(t, uri)
	s := openStore(t, Config{URI: p.URI, Database: database(t, uri)}, Deps{})
	require.NoError(t, withEvent(t.Context(), s))
	p.Down(true)
	start := time.Now()
	_, err := s.AppendEvent(t.Context(), appendOf(2, "c"))
	require.Error(t, err)
	for _, sentinel := range []error{store.ErrNotFound, store.ErrExists, store.ErrStale, store.ErrFull, context.Canceled, context.DeadlineExceeded} {
		require.NotErrorIs(t, err, sentinel, "an outage is none of these")
	}
	require.ErrorIs(t, err, store.ErrAway)
	require.Less(t, time.Since(start), 2*callTimeout)
	require.Error(t, s.Ping(t.Context()))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Event(ctx, testEvent(1, "c").ID)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the caller's own context is honoured")

	p.Down(false)
	require.Eventually(t, func() bool { return s.Ping(t.Context()) == nil }, 10*time.Second, 20*time.Millisecond)
	a, err := s.AppendEvent(t.Context(), appendOf(2, "c"))
	require.NoError(t, err)
	require.EqualValues(t, 2, a.Seq)
}

func TestClosingDuringAnOutageTakesNoLongerThanOneTry(t *testing.T) {
	uri := server(t)
	p := startProxy(t, uri)
	s := openStore(t, Config{URI: p.URI, Database: database(t, uri)}, Deps{})
	require.NoError(t, withEvent(t.Context(), s))
	p.Down(true)
	waiting := make(chan error, 1)
	go func() {
		_, err := s.AppendEvent(context.Background(), appendOf(2, "c"))
		waiting <- err
	}()
	start := time.Now()
	require.NoError(t, s.Close())
	require.Less(t, time.Since(start), callTimeout)
	require.Error(t, <-waiting)
}
