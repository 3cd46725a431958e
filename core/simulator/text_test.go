package simulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAClientPairsLogsInAndExchangesTextWithAPhone(t *testing.T) {
	s := newServer(t, t.TempDir())
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	require.Equal(t, c.Store.GetJID(), d.JID())
	require.Equal(t, c.Store.GetLID(), d.LID())
	ctx := simtest.Within(t, 30*time.Second)

	id, err := stranger.SendText(ctx, "15550001", "hello")
	require.NoError(t, err)
	require.Equal(t, []string{"hello"}, c.waitTexts(1))
	got := c.messages[0].Info
	require.Equal(t, id, got.ID)
	require.Equal(t, "15550002@s.whatsapp.net", got.Chat.String())
	require.Equal(t, stranger.LID(), got.SenderAlt.User)
	require.Equal(t, "Name of 15550002", got.PushName)
	require.NoError(t, d.WaitDrained(ctx))
	require.NoError(t, stranger.WaitDelivery(ctx, id, func(n int, _ bool) bool { return n == 2 }), "phone and companion")

	require.NoError(t, c.MarkRead(ctx, []types.MessageID{id}, time.Now(), got.Chat, got.Sender))
	require.NoError(t, stranger.WaitDelivery(ctx, id, func(_ int, read bool) bool { return read }))

	answer := c.send("15550002", "hello yourself")
	list, err := stranger.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, answer, list[0].ID)
	require.Equal(t, "hello yourself", list[0].Text)
	require.Equal(t, "15550001", list[0].From)
	require.Equal(t, 1, list[0].Copies)
	c.waitDelivered(answer)
	copies, err := owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == answer })
	require.NoError(t, err)
	require.Equal(t, "15550002", copies.Chat)
	require.Equal(t, "15550001", copies.From)
}
