package control_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheControlAPIManagesGroups(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	for _, n := range []string{"15550001", "15550002", "15550003", "15550004"} {
		simtest.AddPhone(t, s, n)
	}
	c := simtest.NewClient(t, s)
	c.Pair(s.Phone("15550001"))
	status, body := api.do("POST", "/sandbox/phones/15550002/groups", `{"subject":"Team","members":["15550001"]}`)
	require.Equal(t, 201, status, body)
	var group struct{ JID string }
	require.NoError(t, json.Unmarshal([]byte(body), &group))
	own := "/sandbox/phones/15550002/groups/" + group.JID
	do := func(path, in, want string) string {
		t.Helper()
		status, body := api.do("POST", path, in)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, want)
		return body
	}
	do("/sandbox/phones/15550002/send", `{"to":"`+group.JID+`","text":"hello all"}`, `"id"`)
	m := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetConversation() == "hello all" })
	require.Equal(t, group.JID, m.Info.Chat.String())
	do(own+"/members", `{"action":"add","numbers":["15550003"]}`, `"number":"15550003","admin":false`)
	do(own+"/members", `{"action":"promote","numbers":["15550003"]}`, `"number":"15550003","admin":true`)
	do(own+"/members", `{"action":"demote","numbers":["15550003"]}`, `"number":"15550003","admin":false`)
	do(own+"/settings", `{"subject":"The team","description":"us","announce":true,"locked":true,"approval":true,"only_admins_add":true}`, `"subject":"The team"`)
	link := do(own+"/invite-link", `{}`, `"link":"https://chat.whatsapp.com/`)
	do("/sandbox/phones/15550004/join", link, `"asked":true`)
	do(own+"/members", `{"action":"approve","numbers":["15550004"]}`, `"number":"15550004"`)
	do("/sandbox/phones/15550004/groups/"+group.JID+"/leave", "", `"requests":[]`)
	do(own+"/invite", `{"number":"15550004"}`, `"id"`)
	do(own+"/members", `{"action":"remove","numbers":["15550003"]}`, `"members":[`)
	for _, path := range []string{"/sandbox/groups", "/sandbox/groups/" + group.JID} {
		status, body = api.do("GET", path, "")
		require.Equal(t, 200, status)
		require.Contains(t, body, "The team")
		require.NotContains(t, body, "15550003")
	}
	for _, r := range []struct {
		path, body string
		status     int
		code       string
	}{
		{"/sandbox/phones/15550001/groups/" + group.JID + "/settings", `{"subject":"x"}`, 403, "not_admin"},
		{"/sandbox/phones/15550003/groups/" + group.JID + "/leave", ``, 403, "not_member"},
		{"/sandbox/phones/15550001/groups/1@g.us/leave", ``, 404, "unknown_group"},
		{"/sandbox/phones/15550001/join", `{"link":"https://chat.whatsapp.com/none"}`, 404, "unknown_invite"},
		{own + "/settings", `{"subject":""}`, 406, "refused"},
		{own + "/members", `{"action":"hug","numbers":["15550001"]}`, 400, "bad_action"},
	} {
		status, body = api.do("POST", r.path, r.body)
		require.Equal(t, r.status, status, body)
		require.Contains(t, body, r.code)
	}
}
