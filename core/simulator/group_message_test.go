package simulator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// bothWays runs a test in groups of both kinds of addressing.
func bothWays(t *testing.T, test func(t *testing.T, byNumber bool)) {
	t.Run("by LID", func(t *testing.T) { test(t, false) })
	t.Run("by number", func(t *testing.T) { test(t, true) })
}

func groupJID(t testing.TB, group string) types.JID {
	t.Helper()
	jid, err := types.ParseJID(group)
	require.NoError(t, err)
	return jid
}

// sendTo sends a text to any chat.
func (c *client) sendTo(chat, text string) string {
	c.t.Helper()
	resp, err := c.SendMessage(simtest.Within(c.t, 30*time.Second), groupJID(c.t, chat), &waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.ID
}

// text waits for a text that the client got in a chat.
func (c *client) text(chat, text string) *events.Message {
	c.t.Helper()
	return waitEvent(c, func(m *events.Message) bool {
		return m.Info.Chat.String() == chat && m.Message.GetConversation()+m.Message.GetExtendedTextMessage().GetText() == text
	})
}

func shows(t testing.TB, p *simulator.Phone, chat, text string) simulator.Message {
	t.Helper()
	m, err := p.WaitMessage(simtest.Within(t, 30*time.Second), func(m simulator.Message) bool { return m.Chat == chat && m.Text == text })
	require.NoError(t, err, "%s in %s on %s", text, chat, p.Number())
	return m
}

func TestPhonesAndClientsWriteInOneGroup(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := newServer(t, t.TempDir())
		one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
		a, _ := paired(t, s, one)
		b, db := paired(t, s, two)
		ctx := simtest.Within(t, 60*time.Second)
		group, err := three.NewGroup(ctx, simulator.GroupOptions{
			Subject: "Cats", Members: []string{"15550001", "15550002"}, ByNumber: byNumber,
		})
		require.NoError(t, err)
		for _, c := range []*client{a, b} {
			joined := waitEvent(c, simtest.AnyOf[*events.JoinedGroup])
			require.Equal(t, "Cats", joined.Name)
			require.Equal(t, "new", joined.Type)
			require.Len(t, joined.Participants, 3)
			require.Equal(t, map[bool]types.AddressingMode{true: "pn", false: "lid"}[byNumber], joined.AddressingMode)
		}

		fromPhone, err := three.SendText(ctx, group, "from a phone")
		require.NoError(t, err)
		got := a.text(group, "from a phone")
		require.True(t, got.Info.IsGroup)
		want := types.NewJID(three.LID(), types.HiddenUserServer)
		alt := types.NewJID("15550003", types.DefaultUserServer)
		if byNumber {
			want, alt = alt, want
		}
		require.Equal(t, want, got.Info.Sender.ToNonAD())
		require.Equal(t, alt, got.Info.SenderAlt.ToNonAD())
		require.Equal(t, fromPhone, b.text(group, "from a phone").Info.ID)
		require.Equal(t, "15550003", shows(t, one, group, "from a phone").From)
		shows(t, two, group, "from a phone")
		require.NoError(t, three.WaitDelivery(ctx, fromPhone, func(n int, _ bool) bool { return n == 4 }), "two phones, two clients")

		fromClient := a.sendTo(group, "from a client")
		m := b.text(group, "from a client")
		require.Equal(t, fromClient, m.Info.ID)
		require.Equal(t, a.Store.GetJID().Device, m.Info.Sender.Device)
		require.Equal(t, "15550001", shows(t, three, group, "from a client").From)
		require.Equal(t, "15550001", shows(t, one, group, "from a client").From)
		shows(t, two, group, "from a client")

		// The second one of each travels without, or with, the sender key; both are read.
		_, err = three.SendText(ctx, group, "again from the phone")
		require.NoError(t, err)
		a.text(group, "again from the phone")
		b.text(group, "again from the phone")
		a.sendTo(group, "again from the client")
		b.text(group, "again from the client")
		shows(t, three, group, "again from the client")

		// Receipts: delivered and read reach who wrote it.
		require.NoError(t, b.MarkRead(ctx, []types.MessageID{fromPhone}, time.Now(), got.Info.Chat, got.Info.Sender))
		require.NoError(t, three.WaitReaders(ctx, fromPhone, 1))
		require.Equal(t, []string{"15550002"}, three.Readers(fromPhone))
		require.NoError(t, b.MarkRead(ctx, []types.MessageID{fromClient}, time.Now(), m.Info.Chat, m.Info.Sender))
		read := waitEvent(a, func(r *events.Receipt) bool { return r.Type == types.ReceiptTypeRead && r.MessageIDs[0] == fromClient })
		require.Equal(t, group, read.Chat.String())
		require.Equal(t, b.Store.GetJID().Device, read.Sender.Device)
		waitEvent(a, func(r *events.Receipt) bool {
			return r.Type == types.ReceiptTypeDelivered && r.MessageIDs[0] == fromClient && r.Sender.Device == 0
		})
		require.NoError(t, three.Read(ctx, group, fromClient))
		waitEvent(a, func(r *events.Receipt) bool {
			return r.Type == types.ReceiptTypeRead && r.MessageIDs[0] == fromClient && r.Sender.Device == 0
		})

		// A client that was linked later reads what comes, from phones and from clients.
		late, _ := paired(t, s, one)
		for _, d := range s.Devices() {
			require.NoError(t, d.WaitDrained(ctx))
		}
		_, err = three.SendText(ctx, group, "to the late one")
		require.NoError(t, err)
		late.text(group, "to the late one")
		b.sendTo(group, "from a client to the late one")
		late.text(group, "from a client to the late one")
		late.sendTo(group, "from the late one")
		a.text(group, "from the late one")
		shows(t, three, group, "from the late one")
		require.NoError(t, db.WaitDrained(ctx))
	})
}

func TestWhoWasRemovedReadsNoMore(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := newServer(t, "")
		one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
		a, _ := paired(t, s, one)
		b, db := paired(t, s, two)
		ctx := simtest.Within(t, 60*time.Second)
		group, err := three.NewGroup(ctx, simulator.GroupOptions{
			Subject: "Cats", Members: []string{"15550001", "15550002"}, ByNumber: byNumber,
		})
		require.NoError(t, err)
		_, err = three.SendText(ctx, group, "for all")
		require.NoError(t, err)
		a.text(group, "for all")
		b.text(group, "for all")
		key := three.SenderKeyID(group)
		require.NotZero(t, key)
		_, err = three.SendText(ctx, group, "with the same key")
		require.NoError(t, err)
		require.Equal(t, key, three.SenderKeyID(group))

		require.NoError(t, three.GroupRemove(ctx, group, "15550002"))
		waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Leave) == 1 })
		_, err = three.SendText(ctx, group, "secret")
		require.NoError(t, err)
		a.text(group, "secret")
		require.NotEqual(t, key, three.SenderKeyID(group), "the removed have the old one")
		a.sendTo(group, "secret too")
		shows(t, three, group, "secret too")
		require.NoError(t, db.WaitDrained(ctx))
		_, err = b.SendMessage(ctx, groupJID(t, group), &waE2E.Message{Conversation: proto.String("still here?")})
		require.Error(t, err)
		_, err = two.SendText(ctx, group, "still here?")
		require.ErrorIs(t, err, simulator.ErrNotMember)

		require.NoError(t, three.GroupAdd(ctx, group, "15550002"))
		_, err = three.SendText(ctx, group, "back again")
		require.NoError(t, err)
		b.text(group, "back again")
		for _, m := range two.Messages(group) {
			require.NotContains(t, m.Text, "secret")
		}
		for _, m := range b.messages {
			require.NotContains(t, m.Message.GetConversation(), "secret")
		}
		// An unlinked companion had the key as well.
		key = three.SenderKeyID(group)
		require.NoError(t, two.Unlink())
		_, err = three.SendText(ctx, group, "without the companion")
		require.NoError(t, err)
		require.NotEqual(t, key, three.SenderKeyID(group))
	})
}

func TestAGroupMessageWithoutItsKeyIsAskedForAgain(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := newServer(t, "")
		one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
		c, _ := paired(t, s, one)
		ctx := simtest.Within(t, 60*time.Second)
		group, err := two.NewGroup(ctx, simulator.GroupOptions{Subject: "Cats", Members: []string{"15550001"}, ByNumber: byNumber})
		require.NoError(t, err)
		_, err = two.SendText(ctx, group, "first")
		require.NoError(t, err)
		c.text(group, "first")

		// The client has lost the phone's key, and gets the next message with it.
		empty := []byte{}
		sender := types.NewJID(two.LID(), types.HiddenUserServer).SignalAddress().String()
		require.NoError(t, c.Store.SenderKeys.PutSenderKey(ctx, group, sender, empty))
		_, err = two.SendText(ctx, group, "second")
		require.NoError(t, err)
		c.text(group, "second")
		waitEvent(c, func(u *events.UndecryptableMessage) bool { return u.Info.Chat.String() == group })
		_, err = two.SendText(ctx, group, "third")
		require.NoError(t, err)
		c.text(group, "third")
		n := 0
		for _, evt := range c.Events() {
			if _, ok := evt.(*events.UndecryptableMessage); ok {
				n++
			}
		}
		require.Equal(t, 1, n)

		// The phone has lost everything, and asks the client.
		c.sendTo(group, "fourth")
		shows(t, two, group, "fourth")
		require.NoError(t, two.ForgetSessions())
		c.sendTo(group, "fifth")
		shows(t, two, group, "fifth")
		c.sendTo(group, "sixth")
		shows(t, two, group, "sixth")
		_, err = two.SendText(ctx, group, "seventh")
		require.NoError(t, err)
		c.text(group, "seventh")
	})
}

func TestReactionsEditsRevokesPollsAndMediaInAGroup(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := newServer(t, "")
		one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
		c, _ := paired(t, s, one)
		ctx := simtest.Within(t, 60*time.Second)
		group, err := one.NewGroup(ctx, simulator.GroupOptions{
			Subject: "Cats", Members: []string{"15550002", "15550003"}, ByNumber: byNumber,
		})
		require.NoError(t, err)
		jid := groupJID(t, group)
		waitEvent(c, simtest.AnyOf[*events.JoinedGroup])

		id, err := two.SendText(ctx, group, "a text")
		require.NoError(t, err)
		got := c.text(group, "a text")
		_, err = c.SendMessage(ctx, jid, c.BuildReaction(jid, got.Info.Sender, id, "👍"))
		require.NoError(t, err)
		for _, p := range []*simulator.Phone{one, two, three} {
			require.Eventually(t, func() bool {
				m, ok := p.Message(group, id)
				return ok && m.Reactions["15550001"] == "👍"
			}, 20*time.Second, 5*time.Millisecond, p.Number())
		}
		_, err = three.React(ctx, group, id, "🐈")
		require.NoError(t, err)
		reaction := waitEvent(c, func(m *events.Message) bool { return m.Message.GetReactionMessage().GetText() == "🐈" })
		require.Equal(t, id, reaction.Message.GetReactionMessage().GetKey().GetID())
		require.Equal(t, got.Info.Sender.ToNonAD().String(), reaction.Message.GetReactionMessage().GetKey().GetParticipant())

		_, err = two.Edit(ctx, group, id, "another text")
		require.NoError(t, err)
		edit := waitEvent(c, func(m *events.Message) bool { return m.Info.Edit == types.EditAttributeMessageEdit })
		require.Equal(t, id, edit.Message.GetProtocolMessage().GetKey().GetID())
		own := c.sendTo(group, "mine")
		_, err = c.SendMessage(ctx, jid, c.BuildEdit(jid, own, &waE2E.Message{Conversation: proto.String("mine, better")}))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			m, ok := three.Message(group, own)
			return ok && m.Text == "mine, better" && m.Edited
		}, 20*time.Second, 5*time.Millisecond)

		// The owner takes back what somebody else wrote; a plain member cannot.
		_, err = three.Revoke(ctx, group, id)
		require.ErrorIs(t, err, simulator.ErrNotYours)
		_, err = c.SendMessage(ctx, jid, c.BuildRevoke(jid, got.Info.Sender, id))
		require.NoError(t, err)
		for _, p := range []*simulator.Phone{two, three} {
			require.Eventually(t, func() bool {
				m, ok := p.Message(group, id)
				return ok && m.Revoked
			}, 20*time.Second, 5*time.Millisecond, p.Number())
		}
		_, err = c.SendMessage(ctx, jid, c.BuildRevoke(jid, types.EmptyJID, own))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			m, ok := three.Message(group, own)
			return ok && m.Revoked
		}, 20*time.Second, 5*time.Millisecond)

		poll, err := two.SendPoll(ctx, group, "Which?", []string{"this", "that"}, 1, simulator.SendOptions{})
		require.NoError(t, err)
		asked := waitEvent(c, func(m *events.Message) bool { return m.Info.ID == poll })
		vote, err := c.BuildPollVote(ctx, &asked.Info, []string{"that"})
		require.NoError(t, err)
		_, err = c.SendMessage(ctx, jid, vote)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			m, _ := two.Message(group, poll)
			return m.Poll != nil && len(m.Poll.Votes["15550001"]) == 1 && m.Poll.Votes["15550001"][0] == "that"
		}, 20*time.Second, 5*time.Millisecond)
		_, err = three.Vote(ctx, group, poll, "this")
		require.NoError(t, err)
		voted := waitEvent(c, func(m *events.Message) bool {
			return m.Message.GetPollUpdateMessage() != nil && m.Info.Sender.User != c.Store.GetJID().User && m.Info.Sender.User != c.Store.GetLID().User
		})
		chosen, err := c.DecryptPollVote(ctx, voted)
		require.NoError(t, err)
		require.Equal(t, whatsmeow.HashPollOptions([]string{"this"}), chosen.GetSelectedOptions())

		_, err = two.SendText(ctx, group, "quoting", simulator.SendOptions{Quote: poll, Mentions: []string{"15550001"}})
		require.NoError(t, err)
		quoting := c.text(group, "quoting").Message.GetExtendedTextMessage().GetContextInfo()
		require.Equal(t, poll, quoting.GetStanzaID())
		want := c.Store.GetLID().ToNonAD().String()
		if byNumber {
			want = c.Store.GetJID().ToNonAD().String()
		}
		require.Equal(t, []string{want}, quoting.GetMentionedJID())
	})
}

func TestGroupsOutliveTheServer(t *testing.T) {
	long(t)
	dir := t.TempDir()
	first, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, first.Start("127.0.0.1:0"))
	one, two := simtest.AddPhone(t, first, "15550001"), simtest.AddPhone(t, first, "15550002")
	c, d := paired(t, first, one)
	ctx := simtest.Within(t, 60*time.Second)
	group, err := two.CreateGroup(ctx, "Cats", "15550001")
	require.NoError(t, err)
	for i := range 3 {
		_, err = two.SendText(ctx, group, fmt.Sprint("one ", i))
		require.NoError(t, err)
		c.text(group, fmt.Sprint("one ", i))
		c.sendTo(group, fmt.Sprint("two ", i))
		shows(t, two, group, fmt.Sprint("two ", i))
	}
	key := two.SenderKeyID(group)
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	_, err = two.SendText(ctx, group, "while it was away")
	require.NoError(t, err)
	want, err := first.Group(group)
	require.NoError(t, err)
	require.NoError(t, first.Close())

	second := newServer(t, dir)
	got, err := second.Group(group)
	require.NoError(t, err)
	require.Equal(t, want, got)
	two = second.Phone("15550002")
	require.Equal(t, key, two.SenderKeyID(group))
	require.Len(t, two.Messages(group), 7)
	c.s = second
	c.renew(true)
	require.NoError(t, c.Connect())
	c.text(group, "while it was away")
	_, err = two.SendText(ctx, group, "after it")
	require.NoError(t, err)
	c.text(group, "after it")
	c.sendTo(group, "from the client after it")
	shows(t, two, group, "from the client after it")
	require.Equal(t, key, two.SenderKeyID(group), "a restart is no reason for another key")
}
