package control_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheControlAPIChangesWhatAPhoneShows(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	ann, ben := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c := simtest.NewClient(t, s)
	c.Pair(ann)
	do := func(method, path, in, want string) {
		t.Helper()
		status, body := api.do(method, "/sandbox/phones/"+path, in)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, want)
	}
	do("POST", "15550002/profile", `{"name":"Benno","about":"Busy","privacy":{"last":"none"},"default_timer_s":86400}`, `"name":"Benno"`)
	do("POST", "15550002/profile", `{"business":{"name":"Benno Ltd","email":"b@example.com"}}`, `"Benno Ltd"`)
	jid := types.NewJID("15550002", types.DefaultUserServer)
	info, err := c.GetUserInfo(t.Context(), []types.JID{jid})
	require.NoError(t, err)
	require.Equal(t, "Busy", info[jid].Status)

	var picture bytes.Buffer
	require.NoError(t, jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 64)), nil))
	status, body := call(t, s, "POST", "/sandbox/phones/15550002/picture", picture.String())
	require.Equal(t, 200, status, body)
	status, body = call(t, s, "GET", "/sandbox/phones/15550002/picture", "")
	require.Equal(t, 200, status)
	require.NotEmpty(t, body)
	do("DELETE", "15550002/picture", "", "{}")
	status, _ = api.do("GET", "/sandbox/phones/15550002/picture", "")
	require.Equal(t, 404, status)

	do("POST", "15550001/contacts", `{"number":"15550002","full_name":"Ben Brook","first_name":"Ben"}`, "{}")
	simtest.WaitEvent(t, &c.Inbox, func(e *events.Contact) bool { return e.Action.GetFullName() == "Ben Brook" })
	do("POST", "15550001/chat-settings", `{"chat":"15550002","muted":true,"archived":false,"pinned":true,"read":true}`, `"pinned":true`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Pin])
	do("GET", "15550001/chat-settings?chat=15550002", "", `"muted":true`)
	do("POST", "15550001/block", `{"number":"15550002","on":true}`, "{}")
	do("GET", "15550001", "", `"blocked":["15550002"]`)
	do("POST", "15550001/block", `{"number":"15550002","on":false}`, "{}")

	require.NoError(t, c.SendPresence(t.Context(), types.PresenceAvailable))
	require.NoError(t, c.SubscribePresence(t.Context(), jid))
	_, err = c.IsOnWhatsApp(t.Context(), []string{"+15550002"}) // an answer: what was said before it is known
	require.NoError(t, err)
	do("POST", "15550002/profile", `{"privacy":{"last":"all"}}`, `"last":"all"`)
	do("POST", "15550002/presence", `{"available":true}`, "{}")
	do("POST", "15550002/typing", `{"to":"15550001","state":"recording"}`, "{}")
	simtest.WaitEvent(t, &c.Inbox, func(e *events.ChatPresence) bool { return e.Media == types.ChatPresenceMediaAudio })
	do("GET", "15550001/presence?of=15550002", "", `"available":`)

	id, err := ben.SendText(t.Context(), "15550001", "old")
	require.NoError(t, err)
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Info.ID == id })
	do("POST", "15550001/star", `{"chat":"15550002","id":"`+id+`","on":true}`, "{}")
	simtest.WaitEvent(t, &c.Inbox, func(e *events.Star) bool { return e.MessageID == id })
	do("POST", "15550001/history", `{"limit":5,"inline":true}`, "{}")
	simtest.WaitEvent(t, &c.Inbox, func(h *events.HistorySync) bool {
		return len(h.Data.GetConversations()) > 0 && len(h.Data.GetConversations()[0].GetMessages()) > 0
	})
	do("POST", "15550002/forget-sessions", "", "{}")
	id, err = ben.SendText(t.Context(), "15550001", "after a restore")
	require.NoError(t, err)
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Info.ID == id })

	for _, r := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"15550002/profile", `{"privacy":{"mood":"all"}}`, 400, "bad_privacy"},
		{"15550002/typing", `{"to":"15550001","state":"singing"}`, 400, "bad_typing"},
		{"15550002/picture", `no JPEG`, 400, "bad_picture"},
		{"15550002/star", `{"chat":"15550001","id":"NONE","on":true}`, 404, "unknown_message"},
	} {
		status, body := call(t, s, "POST", "/sandbox/phones/"+r.path, r.body)
		require.Equal(t, r.status, status, body)
		require.Contains(t, body, r.code)
	}
}
