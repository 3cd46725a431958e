package whatsapp

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// idle is a client that never connects.
func idle(t *testing.T, deps Deps) (*Meow, *[]Signal) {
	t.Helper()
	keys, err := devices.Open(t.Context(), filepath.Join(t.TempDir(), "devices.db"), devices.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keys.Close()) })
	dev, err := keys.New(t.Context(), devices.Owner{})
	require.NoError(t, err)
	var signals []Signal
	deps.Account, deps.Device, deps.HTTP = "a", dev, http.DefaultClient
	deps.Signal = func(s Signal) { signals = append(signals, s) }
	if deps.Handler == nil {
		deps.Handler = func(context.Context, *sdk.Event) error { return nil }
	}
	m, err := New(deps)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close(context.Background())) })
	m.conv = testConverter()
	return m, &signals
}

func TestOnceRefusedEverythingIsRefused(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("down") },
		"panic": func() error { panic("boom") },
	} {
		var stored []string
		down := false
		m, signals := idle(t, Deps{Handler: func(_ context.Context, ev *sdk.Event) error {
			if down {
				return fail()
			}
			stored = append(stored, ev.Message.Text)
			return nil
		}})
		say := func(s string) bool { return m.handle(from(fromBob, &waE2E.Message{Conversation: proto.String(s)})) }
		require.True(t, say("1"), name)
		down = true
		require.False(t, say("2"), name)
		down = false
		require.False(t, say("3"), "stored before what WhatsApp hands over again")
		require.Equal(t, []string{"1"}, stored)
		require.Len(t, *signals, 1)
		require.Equal(t, SignalRefused, (*signals)[0].Kind)
	}
}

func TestWhatCannotBeConvertedIsKeptAsItIs(t *testing.T) {
	var got *sdk.Event
	m, signals := idle(t, Deps{Handler: func(_ context.Context, ev *sdk.Event) error { got = ev; return nil }})
	evt := from(fromBob, &waE2E.Message{Conversation: proto.String("odd")})
	require.True(t, m.store(&evt.Info, evt.RawMessage, func() (*sdk.Event, error) { panic("odd message") }))
	require.Equal(t, sdk.TypeUnparsed, got.Type)
	require.Equal(t, "3EB0AA", got.WAID)
	require.JSONEq(t, `{"conversation":"odd"}`, string(got.Raw))
	require.Empty(t, *signals)
}

func TestNothingIsSentWithoutAConnection(t *testing.T) {
	m, _ := idle(t, Deps{})
	_, payload, err := Renderer{}.RenderText(bobPN.String(), "x", nil, nil)
	require.NoError(t, err)
	_, err = m.Send(t.Context(), Outgoing{ID: "1", To: bobPN.String(), Payload: payload})
	require.ErrorIs(t, err, ErrNotSent)
	var refused *RefusedError
	_, err = m.Send(t.Context(), Outgoing{ID: "1", To: "nobody", Payload: payload})
	require.ErrorAs(t, err, &refused)
	_, err = m.Send(t.Context(), Outgoing{ID: "1", To: bobPN.String(), Payload: []byte{0xff}})
	require.ErrorAs(t, err, &refused)
	require.NoError(t, m.Close(t.Context()))
	require.NoError(t, m.Close(t.Context()))
	require.False(t, m.handle(from(fromBob, &waE2E.Message{Conversation: proto.String("late")})))
}

type sends map[string]store.Send

func (s sends) SendByWAID(_ context.Context, account, id string) (store.Send, error) {
	got, ok := s[account+"/"+id]
	if !ok {
		return store.Send{}, store.ErrNotFound
	}
	return got, nil
}

func TestOnlyARecipientMayHaveAMessageAgain(t *testing.T) {
	_, payload, err := Renderer{}.RenderText(bobPN.String(), "secret", nil, nil)
	require.NoError(t, err)
	m, _ := idle(t, Deps{Sends: sends{
		"a/1": {To: bobPN.String(), Payload: payload, State: store.SendSent},
		"a/2": {To: bobPN.String(), Payload: payload, State: store.SendQueued},
		"a/3": {To: group.String(), Payload: payload, State: store.SendSending},
		"b/4": {To: bobPN.String(), Payload: payload, State: store.SendSent},
	}})
	for _, c := range []struct {
		to types.JID
		id string
		ok bool
	}{
		{bobPN, "1", true},
		{bobLID, "1", true},
		{bobPNDevice, "1", true},
		{eve, "1", false},
		{group, "1", false},
		{bobPN, "2", false},
		{group, "3", true},
		{bobPN, "3", false},
		{bobPN, "4", false},
		{bobPN, "5", false},
	} {
		msg := m.messageForRetry(bobPNDevice, c.to, c.id)
		require.Equal(t, c.ok, msg != nil, "%s for %s", c.id, c.to)
		if msg != nil {
			require.Equal(t, "secret", msg.GetConversation())
			msg.Conversation = nil // whatsmeow changes what it gets
			require.Equal(t, "secret", m.messageForRetry(bobPNDevice, c.to, c.id).GetConversation())
		}
	}
}

func TestConnectionEventsBecomeSignals(t *testing.T) {
	m, signals := idle(t, Deps{})
	for _, e := range []any{
		&events.QR{Codes: []string{"x"}}, &events.Connected{}, &events.OfflineSyncCompleted{}, &events.LoggedOut{Reason: 401},
		&events.StreamError{Code: "518"}, &events.TemporaryBan{Code: 102}, &events.PairSuccess{ID: jid("1:2@s.whatsapp.net")},
	} {
		require.True(t, m.handle(e))
	}
	require.Equal(t, []Signal{
		{Kind: SignalQR, Codes: []string{"x"}},
		{Kind: SignalConnected},
		{Kind: SignalSynced},
		{Kind: SignalLoggedOut, Code: 401},
		{Kind: SignalStreamError, Code: 518},
		{Kind: SignalBanned, Code: 102},
		{Kind: SignalPaired, JID: "1:2@s.whatsapp.net"},
	}, *signals)
}
