package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

// A client that was told that its message may have gone out has nothing but its id.
func TestAMessageThatWasNotAcceptedCanBeTraced(t *testing.T) {
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	now := time.Now()
	add := func(id, account, event string, state store.SendState) {
		t.Helper()
		require.NoError(t, st.InsertSend(t.Context(), store.Send{
			ID: "snd_" + id, Account: account, Chat: "c", WAID: id, To: "1@s.whatsapp.net", EventID: event, State: state, CreatedAt: now, UpdatedAt: now,
		}))
	}
	ev := &sdk.Event{ID: "e1", Type: sdk.TypeMessage, Account: "shop", Chat: "c", WAID: "Q1", Time: now, Message: &sdk.Message{ID: "Q1", Chat: "c", Time: now}}
	_, err = st.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 1})
	require.NoError(t, err)
	add("A1", "shop", "", store.SendUnknown)
	add("A2", "shop", "e1", store.SendFailed)

	tr, err := tracer{st}.Trace(t.Context(), "shop", "A1")
	require.NoError(t, err)
	require.Nil(t, tr.Event)
	require.Len(t, tr.Sends, 1)
	require.Equal(t, store.SendUnknown, tr.Sends[0].State)

	tr, err = tracer{st}.Trace(t.Context(), "shop", "A2")
	require.NoError(t, err)
	require.Equal(t, "e1", tr.Event.ID, "the story of what it answers")
	require.Len(t, tr.Sends, 1)

	for account, id := range map[string]string{"shop": "A9", "other": "A1", "": "A1"} {
		_, err = tracer{st}.Trace(t.Context(), account, id)
		require.ErrorIs(t, err, store.ErrNotFound)
	}
}
