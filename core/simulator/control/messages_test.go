package control_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// idOf reads the id out of an answer.
func idOf(t *testing.T, body string) string {
	t.Helper()
	var out struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(body), &out))
	require.NotEmpty(t, out.ID)
	return out.ID
}

func TestTheControlAPISendsEveryKindAndChangesIt(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	shop := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	c := simtest.NewClient(t, s)
	c.Pair(shop)

	send := func(path, body string) string {
		t.Helper()
		status, answer := api.do("POST", "/sandbox/phones/15550002/"+path, body)
		require.Equal(t, 200, status, answer)
		return idOf(t, answer)
	}
	message := func(id string) *events.Message {
		t.Helper()
		return simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Info.ID == id })
	}
	first := send("send", `{"to":"15550001","text":"hello @15550001","mentions":["15550001"],"forwarded":true,"id":"OWN1"}`)
	require.Equal(t, "OWN1", first)
	require.True(t, message(first).Message.GetExtendedTextMessage().GetContextInfo().GetIsForwarded())
	require.InDelta(t, 52.5, message(send("send", `{"to":"15550001","location":{"latitude":52.5,"longitude":13.4}}`)).Message.GetLocationMessage().GetDegreesLatitude(), 0.001)
	require.Equal(t, "Ann", message(send("send", `{"to":"15550001","contacts":[{"name":"Ann","vcard":"BEGIN:VCARD\nEND:VCARD"}]}`)).Message.GetContactMessage().GetDisplayName())
	poll := send("send", `{"to":"15550001","poll":{"question":"tea?","options":["yes","no"],"selectable":1}}`)
	require.Equal(t, "tea?", message(poll).Message.GetPollCreationMessageV3().GetName())
	require.NotNil(t, message(send("vote", `{"chat":"15550001","id":"`+poll+`","options":["yes"]}`)).Message.GetPollUpdateMessage())
	require.Equal(t, "👍", message(send("react", `{"chat":"15550001","id":"OWN1","emoji":"👍"}`)).Message.GetReactionMessage().GetText())
	require.True(t, message(send("edit", `{"chat":"15550001","id":"OWN1","text":"changed"}`)).IsEdit)
	send("revoke", `{"chat":"15550001","id":"OWN1"}`)
	status, _ := api.do("POST", "/sandbox/phones/15550002/disappearing", `{"chat":"15550001","seconds":86400}`)
	require.Equal(t, 200, status)

	// What the phone then shows.
	status, body := api.do("GET", "/sandbox/phones/15550002/messages?chat=15550001", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"revoked":true`)
	require.Contains(t, body, `"votes":{"15550002":["yes"]}`)
	status, body = api.do("GET", "/sandbox/phones/15550002/chats", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"name":"Name of 15550001","messages":4`)
	status, body = api.do("GET", "/sandbox/phones/15550002/delivery?wait=10s&id="+poll, "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `15550001`)
	status, _ = api.do("POST", "/sandbox/phones/15550001/read", `{"chat":"15550002"}`)
	require.Equal(t, 200, status)
	_, body = api.do("GET", "/sandbox/phones/15550002/delivery?id="+poll, "")
	require.Contains(t, body, `"read":"20`)
	require.NotContains(t, body, `"read":"0001`)

	status, body = api.do("POST", "/sandbox/phones/15550002/replies", `{"replies":[{"pattern":"^echo (.*)$","reply":"$1!"}]}`)
	require.Equal(t, 200, status)
	c.Say("15550002", "echo hi")
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetExtendedTextMessage().GetText() == "hi!" })
	status, again := api.do("GET", "/sandbox/phones/15550002/replies", "")
	require.Equal(t, 200, status)
	require.Equal(t, body, again)
}

func TestReceivedWaitsForWhatComesAndNoLongerThanAsked(t *testing.T) {
	s := newServer(t, "")
	ann, ben := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	began := time.Now()
	status, body := call(t, s, "GET", "/sandbox/phones/15550002/received?after=0&wait=50ms", "")
	require.Equal(t, 200, status)
	require.Equal(t, "{\"messages\":[]}\n", body)
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)

	answers := make(chan string, 1)
	go func() {
		_, body := call(t, s, "GET", "/sandbox/phones/15550002/received?after=0&wait=1m", "")
		answers <- body
	}()
	_, err := ann.SendText(t.Context(), ben.Number(), "now")
	require.NoError(t, err)
	require.Contains(t, <-answers, `"text":"now"`)

	for _, wait := range []string{"x", "-1s", "24h"} {
		status, body = call(t, s, "GET", fmt.Sprintf("/sandbox/phones/15550002/received?after=9&wait=%s", wait), "")
		require.Equal(t, 400, status)
		require.Contains(t, body, "bad_wait")
	}
}

func TestTheControlAPIRefusesWhatNoPhoneCouldDo(t *testing.T) {
	s := newServer(t, "")
	ann, _ := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	id, err := ann.SendText(t.Context(), "15550002", "mine")
	require.NoError(t, err)
	_, err = s.Phone("15550002").WaitReceived(simtest.Within(t, 10*time.Second), 1)
	require.NoError(t, err)
	for _, c := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"send", `{"to":"15550001","text":"x","poll":{"question":"q","options":["a","b"]}}`, 400, "bad_message"},
		{"send", `{"to":"15550001","poll":{"question":"q","options":["a"]}}`, 400, "bad_message"},
		{"send", `{"to":"15550001"}`, 400, "bad_message"},
		{"send", `{"to":"15550001","contacts":[]}`, 400, "bad_message"},
		{"send", `{"to":"15550001","contacts":[{"name":"Ann"}]}`, 400, "bad_message"},
		{"send", `{"to":"15550001","location":{"latitude":91,"longitude":0}}`, 400, "bad_message"},
		{"send", `{"to":"15550001","poll":{"question":"q","options":["a","a"]}}`, 400, "bad_message"},
		{"send", `{"to":"15550001","text":"x","quoted":"NONE"}`, 404, "unknown_message"},
		{"send", `{"to":"15550001","text":"x"} x`, 400, "bad_json"},
		{"send", `{"to":"15550001","text":"x"}{}`, 400, "bad_json"},
		{"send", `{"to":"15550001","text":"x","id":"OWN1"}`, 200, "OWN1"},
		{"send", `{"to":"15550001","text":"x","id":"OWN1"}`, 409, "id_taken"},
		{"send", `{"to":"15550001","text":"` + strings.Repeat("x", 64<<20) + `"}`, 413, "too_large"},
		{"picture", strings.Repeat("x", 64<<20+1), 413, "too_large"},
		{"history", `{"chats":["zz"]}`, 400, "bad_number"},
		{"history", `{"limit":-1}`, 400, "bad_limit"},
		{"block", `{"number":"+15550002","on":true}`, 400, "bad_number"},
		{"profile", `{"name":"` + strings.Repeat("x", 26) + `"}`, 400, "bad_name"},
		{"edit", `{"chat":"15550001","id":"` + id + `","text":"x"}`, 403, "not_yours"},
		{"react", `{"chat":"15550001","id":"NONE","emoji":"x"}`, 404, "unknown_message"},
		{"replies", `{"replies":[{"pattern":"(","reply":"x"}]}`, 400, "bad_reply"},
	} {
		status, body := call(t, s, "POST", "/sandbox/phones/15550002/"+c.path, c.body)
		require.Equal(t, c.status, status, body)
		require.Contains(t, body, c.code)
	}
	for _, path := range []string{"delivery?id=NONE", "presence?of=15559999"} {
		status, body := call(t, s, "GET", "/sandbox/phones/15550002/"+path, "")
		require.Equal(t, 404, status, body)
	}
}
