package simulator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func historyOf(c *client, kind waHistorySync.HistorySync_HistorySyncType) *waHistorySync.HistorySync {
	c.t.Helper()
	return waitEvent(c, func(e *events.HistorySync) bool { return e.Data.GetSyncType() == kind }).Data
}

// said are the texts of a conversation in the order in which history carries them.
func said(conversation *waHistorySync.Conversation) []string {
	out := []string{}
	for _, m := range conversation.GetMessages() {
		out = append(out, m.GetMessage().GetMessage().GetConversation())
	}
	return out
}

func TestANewCompanionIsSentThePastInParts(t *testing.T) {
	s := newServer(t, t.TempDir())
	owner, bea := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	cal := simtest.AddPhone(t, s, "15550003")
	ctx := simtest.Within(t, 60*time.Second)
	const talk = 230
	var newestFirst []string
	for i := range talk {
		from, to := bea, "15550001"
		if i%2 == 1 {
			from, to = owner, "15550002"
		}
		_, err := from.SendText(ctx, to, fmt.Sprint("word ", i))
		require.NoError(t, err)
		newestFirst = append([]string{fmt.Sprint("word ", i)}, newestFirst...)
		if from == bea {
			_, err = owner.WaitReceived(ctx, i/2+1)
			require.NoError(t, err)
		}
	}
	_, err := cal.SendText(ctx, "15550001", "only this")
	require.NoError(t, err)
	_, err = owner.WaitReceived(ctx, talk/2+1)
	require.NoError(t, err)
	require.NoError(t, owner.Pin(ctx, "15550002", true))

	c, _ := paired(t, s, owner)
	first := historyOf(c, waHistorySync.HistorySync_INITIAL_BOOTSTRAP)
	require.Len(t, first.GetConversations(), 2)
	require.Equal(t, "15550003@s.whatsapp.net", first.GetConversations()[0].GetID(), "the newest chat comes first")
	require.Equal(t, []string{"only this"}, said(first.GetConversations()[0]))
	chat := first.GetConversations()[1]
	require.Equal(t, newestFirst[:20], said(chat))
	require.Equal(t, uint32(1), chat.GetPinned())
	require.Equal(t, bea.LID()+"@lid", chat.GetLidJID())
	names := historyOf(c, waHistorySync.HistorySync_PUSH_NAME)
	require.Len(t, names.GetPushnames(), 2)
	recent := historyOf(c, waHistorySync.HistorySync_RECENT)
	require.Equal(t, newestFirst[20:220], said(recent.GetConversations()[0]))
	full := historyOf(c, waHistorySync.HistorySync_FULL)
	require.Equal(t, newestFirst[220:], said(full.GetConversations()[0]))
	require.Len(t, s.Media(), 3, "all but the first come as files")

	parsed, err := c.ParseWebMessage(jidOf("15550002"), chat.GetMessages()[0].GetMessage())
	require.NoError(t, err)
	require.True(t, parsed.Info.IsFromMe, "the last word was the owner's")
	require.Equal(t, "word 229", parsed.Message.GetConversation())
	require.Eventually(t, func() bool { // whatsmeow stores names and identifiers behind the event
		contact, err := c.Store.Contacts.GetContact(ctx, jidOf("15550003"))
		require.NoError(t, err)
		lid, err := c.Store.LIDs.GetLIDForPN(ctx, jidOf("15550003"))
		require.NoError(t, err)
		return contact.PushName == "Name of 15550003" && lid.User == cal.LID()
	}, 10*time.Second, time.Millisecond)

	older, _ := owner.Message("15550002", chat.GetMessages()[1].GetMessage().GetKey().GetID())
	request := c.BuildHistorySyncRequest(&types.MessageInfo{
		MessageSource: types.MessageSource{Chat: jidOf("15550002")}, ID: older.ID, Timestamp: older.Time,
	}, 5)
	_, err = c.SendMessage(ctx, jidOf("15550001"), request, whatsmeow.SendRequestExtra{Peer: true})
	require.NoError(t, err)
	more := historyOf(c, waHistorySync.HistorySync_ON_DEMAND)
	require.Equal(t, newestFirst[2:7], said(more.GetConversations()[0]))
}

func TestHistoryIsPushedOnDemandAndDownloadedByHand(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	bea := simtest.AddPhone(t, s, "15550002")
	one, d := paired(t, s, owner)
	two, _ := paired(t, s, owner)
	one.ManualHistorySyncDownload = true
	ctx := simtest.Within(t, 60*time.Second)
	for i := range 3 {
		_, err := bea.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	_, err := owner.WaitReceived(ctx, 3)
	require.NoError(t, err)
	one.Forget()
	two.Forget()
	require.NoError(t, owner.PushHistory(ctx, simulator.History{
		Type: waHistorySync.HistorySync_RECENT, Chats: []string{"15550002"}, Limit: 2,
	}))
	pushed := historyOf(two, waHistorySync.HistorySync_RECENT)
	require.Equal(t, []string{"2", "1"}, said(pushed.GetConversations()[0]))
	told := waitEvent(one, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetHistorySyncNotification() != nil
	})
	notification := told.Message.GetProtocolMessage().GetHistorySyncNotification()
	require.Nil(t, notification.GetInitialHistBootstrapInlinePayload())
	data, err := one.DownloadHistorySync(ctx, notification, true)
	require.NoError(t, err)
	require.True(t, proto.Equal(pushed, data))

	made := &waHistorySync.HistorySync{
		SyncType: waHistorySync.HistorySync_FULL.Enum(),
		Conversations: []*waHistorySync.Conversation{{
			ID: proto.String("15559999@s.whatsapp.net"), Name: proto.String("Somebody from before"),
		}},
	}
	one.Forget()
	two.Forget()
	require.NoError(t, owner.PushHistory(ctx, simulator.History{Data: made, To: d, Inline: true}))
	told = waitEvent(one, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetHistorySyncNotification() != nil
	})
	data, err = one.DownloadHistorySync(ctx, told.Message.GetProtocolMessage().GetHistorySyncNotification(), true)
	require.NoError(t, err)
	require.True(t, proto.Equal(made, data))
	for _, e := range two.seenEvents() {
		_, history := e.(*events.HistorySync)
		require.False(t, history, "it was for the other")
	}
	require.Error(t, bea.PushHistory(ctx, simulator.History{To: d}), "another number's companion")
}

func TestACompanionGetsWhatItCouldNotReadFromItsPhone(t *testing.T) {
	s := newServer(t, "")
	c, _, owner, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	id, err := other.SendText(ctx, "15550001", "said once")
	require.NoError(t, err)
	_, err = owner.WaitReceived(ctx, 2)
	require.NoError(t, err)
	waitEvent(c, func(m *events.Message) bool { return m.Info.ID == id })
	c.Forget()
	c.Lock()
	delete(c.seen, "15550002"+id)
	c.Unlock()
	sent, err := c.SendMessage(ctx, jidOf("15550001"), c.BuildUnavailableMessageRequest(jidOf("15550002"), jidOf("15550002"), id),
		whatsmeow.SendRequestExtra{Peer: true})
	require.NoError(t, err)
	again := waitEvent(c, func(m *events.Message) bool { return m.Info.ID == id })
	require.Equal(t, "said once", again.Message.GetConversation())
	require.Equal(t, sent.ID, again.UnavailableRequestID)
	require.Equal(t, jidOf("15550002"), again.Info.Sender)
	require.Equal(t, "Name of 15550002", again.Info.PushName)

	missing := c.BuildUnavailableMessageRequest(jidOf("15550002"), jidOf("15550002"), "3A0000")
	sent, err = c.SendMessage(ctx, jidOf("15550001"), missing, whatsmeow.SendRequestExtra{Peer: true})
	require.NoError(t, err)
	answer := waitEvent(c, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetPeerDataOperationRequestResponseMessage().GetStanzaID() == sent.ID
	})
	require.Len(t, answer.Message.GetProtocolMessage().GetPeerDataOperationRequestResponseMessage().GetPeerDataOperationResult(), 1)
}

func TestAServerWithoutHistorySendsNoneByItself(t *testing.T) {
	s, err := simulator.New(simulator.Options{Root: simtest.Root(), NoHistory: true})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	c, _, owner, _ := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, owner.PushHistory(ctx, simulator.History{Type: waHistorySync.HistorySync_RECENT, Inline: true}))
	historyOf(c, waHistorySync.HistorySync_RECENT)
	count := 0
	c.wait("the notification", func() bool { // which may come after what it announces
		count = 0
		for _, e := range c.Events() {
			if m, ok := e.(*events.Message); ok && m.Message.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION {
				count++
			}
		}
		return count > 0
	})
	require.Equal(t, 1, count)
}
