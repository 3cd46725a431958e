package simulator_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func lidOf(p *simulator.Phone) types.JID { return types.NewJID(p.LID(), types.HiddenUserServer) }

// say sends a text from a client to a JID of either kind.
func (c *client) say(ctx context.Context, to types.JID, text string) types.JID {
	c.t.Helper()
	resp, err := c.SendMessage(ctx, to, &waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.Sender
}

// hears waits for a text, and says where it came from. It was decrypted at once.
func (c *client) hears(text string) types.MessageInfo {
	c.t.Helper()
	m := waitEvent(c, func(m *events.Message) bool { return m.Message.GetConversation() == text })
	require.Zero(c.t, m.RetryCount)
	c.Lock()
	defer c.Unlock()
	for _, e := range c.Events() {
		lost, ok := e.(*events.UndecryptableMessage)
		require.False(c.t, ok, "%+v", lost)
	}
	return m.Info
}

func TestChatsGoOnUnderEitherAddressAndOverARestart(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	owner, other := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	twin, twinDevice := paired(t, s, owner)
	peer, peerDevice := paired(t, s, other)
	ctx := simtest.Within(t, 90*time.Second)
	clients := map[*client]*simulator.Device{c: d, twin: twinDevice, peer: peerDevice}

	received := 0
	talk := func(round string) {
		for _, byLID := range []bool{false, true, false} {
			name := fmt.Sprint(round, byLID, received)
			_, err := other.SendText(ctx, "15550001", "phone "+name, simulator.SendOptions{ByLID: byLID})
			require.NoError(t, err)
			here, there := jidOf("15550002"), lidOf(other)
			mine := jidOf("15550001")
			if byLID {
				here, there, mine = there, here, lidOf(owner)
			}
			info := c.hears("phone " + name)
			require.Equal(t, here, info.Sender)
			require.Equal(t, there, info.SenderAlt)
			copied := peer.hears("phone " + name)
			require.True(t, copied.IsFromMe)
			require.Equal(t, mine, copied.Chat)
			require.Equal(t, mine.User == owner.LID(), copied.RecipientAlt.User == "15550001")

			c.say(ctx, here, "client "+name)
			received++
			list, err := other.WaitReceived(ctx, received)
			require.NoError(t, err)
			require.Equal(t, "client "+name, list[received-1].Text)
			require.Equal(t, "15550001", list[received-1].Chat, "one chat, however it is addressed")
			require.Equal(t, mine.User, peer.hears("client "+name).Sender.User)
			require.Equal(t, here, twin.hears("client "+name).Chat)
		}
	}
	talk("first ")
	for c, d := range clients {
		require.NoError(t, d.WaitDrained(ctx))
		c.Disconnect()
		require.NoError(t, d.WaitOffline(ctx))
	}
	require.NoError(t, s.Close())

	s = newServer(t, dir)
	owner, other = s.Phone("15550001"), s.Phone("15550002")
	for c := range clients {
		c.s = s
		c.renew(true)
		require.NoError(t, c.Connect())
		waitEvent(c, simtest.AnyOf[*events.Connected])
	}
	talk("second ")
}

func TestAClientMovesASessionThatItHasUnderANumber(t *testing.T) {
	long(t)
	s := newServer(t, "")
	c, d, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 60*time.Second)
	c.say(ctx, jidOf("15550002"), "before")
	_, err := other.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	// As a client has it that opened the session before there were hidden identifiers.
	number, hidden := jidOf("15550002").SignalAddress().String(), lidOf(other).SignalAddress().String()
	session, err := c.Store.Sessions.GetSession(ctx, hidden)
	require.NoError(t, err)
	require.NotNil(t, session)
	require.NoError(t, c.Store.Sessions.PutSession(ctx, number, session))
	require.NoError(t, c.Store.Sessions.DeleteSession(ctx, hidden))
	require.NoError(t, c.db.Close())
	c.db = simtest.OpenKeys(t, c.path) // which forgets what it moved before
	c.renew(true)
	require.NoError(t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.Connected])

	_, err = other.SendText(ctx, "15550001", "after")
	require.NoError(t, err)
	c.hears("after")
	c.say(ctx, jidOf("15550002"), "answer")
	list, err := other.WaitReceived(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, "answer", list[1].Text)
	has, err := c.Store.Sessions.HasSession(ctx, hidden)
	require.NoError(t, err)
	require.True(t, has)
	has, err = c.Store.Sessions.HasSession(ctx, number)
	require.NoError(t, err)
	require.False(t, has)
}

func TestANumberMigratesToHiddenIdentifiersWithItsCompanions(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	c, d, owner, other := acquainted(t, s)
	ctx := simtest.Within(t, 90*time.Second)
	require.Equal(t, "15550001", c.say(ctx, jidOf("15550002"), "by number").User)
	require.NoError(t, owner.MigrateToLID(ctx))
	require.Eventually(t, func() bool { // whatsmeow has no event for it
		lid, err := c.Store.LIDs.GetLIDForPN(ctx, jidOf("15550002"))
		require.NoError(t, err)
		return lid == lidOf(other) && d.Pending() == 0
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, owner.LID(), c.say(ctx, jidOf("15550002"), "by identifier").User, "though it was told the number")
	list, err := other.WaitReceived(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, "15550001", list[1].Chat)
	_, err = owner.SendText(ctx, "15550002", "the phone too")
	require.NoError(t, err)
	require.Equal(t, lidOf(other), c.hears("the phone too").Chat)
	_, err = other.SendText(ctx, "15550001", "an answer by number")
	require.NoError(t, err)
	c.hears("an answer by number")
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	require.NoError(t, s.Close())

	s = newServer(t, dir)
	owner = s.Phone("15550001")
	late, _ := paired(t, s, owner)
	history := historyOf(late, 0)
	require.NotZero(t, history.GetGlobalSettings().GetChatDbLidMigrationTimestamp())
	require.Equal(t, lidOf(other).String(), history.GetConversations()[0].GetID())
	require.Eventually(t, func() bool {
		lid, err := late.Store.LIDs.GetLIDForPN(ctx, jidOf("15550002"))
		require.NoError(t, err)
		return lid == lidOf(other)
	}, 10*time.Second, time.Millisecond)
	c.s = s
	c.renew(true)
	require.NoError(t, c.Connect())
	require.Equal(t, owner.LID(), c.say(ctx, jidOf("15550002"), "still").User)
	require.Equal(t, lidOf(other), late.hears("still").Chat)
}

func TestAChangedNameIsShownWithTheNextMessage(t *testing.T) {
	s := newServer(t, "")
	c, _, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	waitEvent(c, func(e *events.PushName) bool {
		return e.JID == jidOf("15550002") && e.NewPushName == "Name of 15550002"
	})
	require.NoError(t, other.SetPushName(ctx, "Bea"))
	_, err := other.SendText(ctx, "15550001", "it is me")
	require.NoError(t, err)
	changed := waitEvent(c, func(e *events.PushName) bool { return e.NewPushName == "Bea" })
	require.Equal(t, "Name of 15550002", changed.OldPushName)
	require.Equal(t, jidOf("15550002"), changed.JID)
	require.Equal(t, lidOf(other), changed.JIDAlt)
	c.say(ctx, jidOf("15550002"), "who?")
	list, err := other.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "Name of 15550001", list[0].Name)
}
