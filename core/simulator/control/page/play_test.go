package page_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// hostile is a text that would run, were it not shown as text.
const hostile = `<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">`

func TestAPersonPlaysThePhones(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t, s.URL())

	b.open("/sandbox/")
	b.sees("h1", "Play the phones")
	b.shot("empty")
	b.set(`.phones input[name=number]`, "+1 555-0001")
	b.fill(`.phones input[name=name]`, "Corner Shop", `.phones form button`)
	b.sees(".owner h1", "Corner Shop")
	c := newClient(t, s)
	b.fill(`textarea[name=qr]`, c.showQR(), `form[action$="/scan"] button`)
	waitEvent(c, anyOf[*events.Connected])
	b.sees(".device", "online")

	ann := addPhone(t, s, "15550002", "Ann Abel")
	b.sees("#phones", "Ann Abel")
	b.open("/sandbox/ui/phones/15550002")
	b.run(`document.querySelector('details[data-key=write]').open = true`)
	b.fill(`form[action$="/open"] input[name=chat]`, "15550001", `form[action$="/open"] button`)
	b.fill(`.composer textarea`, hostile, `.composer button`)
	b.sees(".own .text", hostile)
	require.Equal(t, hostile, waitEvent(c, func(m *events.Message) bool { return m.Info.Sender.User == "15550002" }).Message.GetConversation())
	b.sees(".ticks.delivered", "✓✓")

	_, err := c.SendMessage(within(t), types.NewJID("15550002", types.DefaultUserServer), &waE2E.Message{Conversation: proto.String("We are open until six.")})
	require.NoError(t, err)
	b.sees(".message:not(.own) .text", "open until six")
	_, err = ann.SendPoll(t.Context(), "15550001", "Tea or coffee?", []string{"Tea", "Coffee"}, 1, simulatorOptions())
	require.NoError(t, err)
	b.sees(".poll b", "Tea or coffee?")
	b.shot("chat")
	b.until("window.pwned === undefined")
}
