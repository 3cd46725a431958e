package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// Fill stores some of everything: two accounts, chats of which two were merged, events of
// every stage, one too large for its row, sends and deliveries in several states, and so on.
func Fill(t *testing.T, s store.Store) {
	ctx := t.Context()
	for _, a := range []string{"one", "two"} {
		require.NoError(t, s.CreateAccount(ctx, store.Account{
			ID: a, Name: "Account " + a, JID: "49151" + a + ":3@s.whatsapp.net", State: "connected", Connect: true, Greeted: true, CreatedAt: at(0), UpdatedAt: at(1),
		}))
		_, err := s.AcquireLease(ctx, "account/"+a, "hub", time.Millisecond)
		require.NoError(t, err)
	}
	// The younger of two names is merged into the older, and has events of its own.
	queue(t, s, 1, "one", "old@s.whatsapp.net", "a", "b")
	for _, form := range []string{"old@s.whatsapp.net", "new@lid", "third@lid"} {
		_, err := s.ResolveAlias(ctx, "one", form)
		require.NoError(t, err)
	}
	queue(t, s, 2, "one", "new@lid", "a")
	_, err := s.ResolveAlias(ctx, "one", "new@lid", "old@s.whatsapp.net")
	require.NoError(t, err)
	_, err = s.ResolveAlias(ctx, "one", "new@lid", "more@lid")
	require.NoError(t, err)
	for i := range 7 {
		st := queue(t, s, 10+i, "two", "c@g.us", "a")
		f := store.DeliveryFinish{ID: st.Deliveries[0].ID, Epoch: uint64(i + 1), Counted: true, At: at(20 + i)}
		f.State = []store.DeliveryState{store.DeliveryOK, store.DeliveryQueued, store.DeliveryDead, store.DeliveryParked}[i%4]
		f.Due, f.Reason, f.Stepped = at(60), "said no", i%4 == 2
		f.Record = &store.Attempt{N: 1, At: at(20 + i), Took: time.Second, Status: "retry", Code: 500, Body: "no\x00\xff\xfe \u00e4"}
		_, err := s.FinishDeliveries(ctx, []store.DeliveryFinish{f})
		require.NoError(t, err)
	}
	large := message(30, "two", "c@g.us")
	large.Message.Text = strings.Repeat("large ", 20_000)
	add(t, s, large)
	add(t, s, plain(31, "one", ""))
	ev := message(32, "one", "more@lid")
	st := settlement(ev, add(t, s, ev))
	st.Sends = []store.Send{reply(ev, 0), reply(ev, 1), reply(ev, 2)}
	require.NoError(t, s.Settle(ctx, st))
	_, err = s.MoveSend(ctx, store.SendMove{ID: reply(ev, 1).ID, From: store.SendQueued, To: store.SendSending, Epoch: 3, At: at(40)})
	require.NoError(t, err)
	own := plain(33, "one", "more@lid")
	_, err = s.AppendEvent(ctx, store.Append{Event: own, Epoch: 5, Sent: &store.SentMark{SendID: reply(ev, 1).ID, At: at(41)}})
	require.NoError(t, err)
	require.NoError(t, s.InsertSend(ctx, store.Send{
		ID: "rest", Account: "two", Chat: "c@g.us", WAID: "3EB0", To: "c@g.us", Payload: []byte{1}, Key: "key", KeyHash: "hash",
	}))
	require.NoError(t, s.SaveEndpoint(ctx, store.EndpointState{ID: "a", Disabled: true, Reason: "410", OpenSince: at(3), UpdatedAt: at(4)}))
	for i := range 3 {
		_, _, err := s.CreateWebhook(ctx, store.Webhook{
			ID: fmt.Sprintf("wh_%d", 9-i), URL: "https://example.org/" + fmt.Sprint(i), Account: "one", Events: []string{"message"}, Secret: "whsec_x",
			Headers: map[string]string{"X-A.b": "c"}, CreatedAt: at(i),
		})
		require.NoError(t, err)
	}
	for i := range 5 {
		require.NoError(t, s.SetKV(ctx, "rule/x", fmt.Sprintf("k.%d/\xff", i), []byte{byte(i), 0xff}, time.Duration(i)*24*time.Hour))
	}
	require.NoError(t, s.SetKV(ctx, "hub", "empty", []byte{}, 0))
	for i, size := range []int{0, 10, 700_000} {
		_, err := s.PutBlob(ctx, store.BlobInfo{
			ID: fmt.Sprintf("blob-%d", i), Account: "two", Name: "n.jpg", MIME: "image/jpeg", Meta: map[string]string{"chat": "c@g.us"}, CreatedAt: at(i),
		}, bytes.NewReader(bytes.Repeat([]byte{byte(i), 7}, size/2)))
		require.NoError(t, err)
	}
}
