package control_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheControlAPICallsAndPostsStatuses(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	ann := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	c := simtest.NewClient(t, s)
	c.Pair(ann)
	do := func(method, path, in, want string) string {
		t.Helper()
		status, body := api.do(method, "/sandbox/"+path, in)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, want)
		return body
	}
	id := idOf(t, do("POST", "phones/15550002/calls", `{"to":"15550001","video":true}`, `"id"`))
	offer := simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.CallOffer])
	require.Equal(t, id, offer.CallID)
	do("GET", "phones/15550001/calls?wait=10s", "", `"state":"ringing"`)
	require.NoError(t, c.RejectCall(t.Context(), offer.From, id))
	do("GET", "phones/15550002/calls", "", `"id":"`+id)
	id = idOf(t, do("POST", "phones/15550002/calls", `{"to":"15550001"}`, `"id"`))
	do("POST", "phones/15550001/calls/"+id, `{"action":"answer"}`, "{}")
	do("POST", "phones/15550002/calls/"+id, `{"action":"end","reason":"timeout"}`, "{}")
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.CallTerminate])
	status, body := call(t, s, "POST", "/sandbox/phones/15550002/calls/"+id, `{"action":"reject"}`)
	require.Equal(t, 404, status, body)
	require.Contains(t, body, "unknown_call")

	do("POST", "phones/15550002/status-privacy", `{"kind":"whitelist","numbers":["15550001"]}`, "{}")
	do("POST", "phones/15550002/send", `{"to":"status@broadcast","text":"at the beach"}`, `"id"`)
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool {
		return m.Info.Chat == types.StatusBroadcastJID && m.Message.GetExtendedTextMessage().GetText()+m.Message.GetConversation() == "at the beach"
	})
	do("GET", "newsletters", "", `"newsletters":[]`)
	status, body = api.do("POST", "/sandbox/phones/15550002/newsletters", `{"name":"News","description":"of the day"}`)
	require.Equal(t, 201, status, body)
	var made struct{ JID string }
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	do("POST", "phones/15550001/newsletters/"+made.JID+"/follow", `{"on":true}`, `"followers":["15550001","15550002"]`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.NewsletterJoin])
	do("POST", "phones/15550001/newsletters/"+made.JID+"/follow", `{"on":false}`, `"followers":["15550002"]`)
	status, body = api.do("POST", "/sandbox/phones/15550001/newsletters/none@newsletter/follow", `{"on":true}`)
	require.Equal(t, 404, status, body)
	do("POST", "phones/15550001/migrate-to-lid", "", "{}")
	do("POST", "phones/15550001/rotate-key", `{"share":true}`, "{}")
}
