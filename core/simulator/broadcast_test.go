package simulator_test

import (
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

func TestAStatusReachesThoseItIsMeantFor(t *testing.T) {
	long(t)
	s := newServer(t, t.TempDir())
	one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
	a, da := paired(t, s, one)
	second, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	contact := types.NewJID("15550002", types.DefaultUserServer)
	require.NoError(t, a.Store.Contacts.PutContactName(ctx, contact, "Two", "Number Two"))

	id := a.sendTo(simulator.StatusChat, "from a client")
	got := b.text(simulator.StatusChat, "from a client")
	require.Equal(t, "15550001", got.Info.Sender.User)
	require.Equal(t, one.LID(), got.Info.SenderAlt.User)
	shows(t, two, simulator.StatusChat, "from a client")
	shows(t, one, simulator.StatusChat, "from a client")
	own := second.text(simulator.StatusChat, "from a client")
	require.True(t, own.Info.IsFromMe)
	require.Equal(t, []types.BroadcastRecipient{{PN: contact, LID: types.NewJID(two.LID(), types.HiddenUserServer)}}, own.Info.BroadcastRecipients)
	require.Empty(t, three.Messages(simulator.StatusChat), "it is no contact")

	require.NoError(t, b.MarkRead(ctx, []types.MessageID{id}, time.Now(), got.Info.Chat, got.Info.Sender))
	read := waitEvent(a, func(r *events.Receipt) bool { return r.Type == types.ReceiptTypeRead })
	require.Equal(t, types.StatusBroadcastJID, read.Chat)
	require.Equal(t, "15550002", read.Sender.User)
	require.Equal(t, id, read.MessageIDs[0])
	_, err := a.SendMessage(ctx, types.StatusBroadcastJID, a.BuildRevoke(types.StatusBroadcastJID, types.EmptyJID, id))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		m, ok := two.Message(simulator.StatusChat, id)
		return ok && m.Revoked
	}, 20*time.Second, 5*time.Millisecond)

	// A phone posts to all whom it has met.
	_, err = two.SendText(ctx, "15550001", "we have met")
	require.NoError(t, err)
	id, err = two.PostStatus(ctx, &waE2E.Message{Conversation: proto.String("from a phone")})
	require.NoError(t, err)
	got = a.text(simulator.StatusChat, "from a phone")
	require.Equal(t, "15550002", got.Info.Sender.User)
	shows(t, one, simulator.StatusChat, "from a phone")
	require.Len(t, b.text(simulator.StatusChat, "from a phone").Info.BroadcastRecipients, 1)
	require.NoError(t, a.MarkRead(ctx, []types.MessageID{id}, time.Now(), got.Info.Chat, got.Info.Sender))
	require.NoError(t, two.WaitReaders(ctx, id, 1))
	require.Equal(t, []string{"15550001"}, two.Readers(id))
	_, err = two.Revoke(ctx, simulator.StatusChat, id)
	require.NoError(t, err)
	waitEvent(a, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_REVOKE && m.Message.GetProtocolMessage().GetKey().GetID() == id
	})
	require.Empty(t, three.Messages(simulator.StatusChat))
	require.NoError(t, da.WaitDrained(ctx))

	// Who may see them is set on the phone.
	require.NoError(t, one.SetStatusPrivacy(ctx, "whitelist", "15550003"))
	privacy, err := a.GetStatusPrivacy(ctx)
	require.NoError(t, err)
	require.Equal(t, []types.StatusPrivacy{{
		Type: types.StatusPrivacyTypeWhitelist, IsDefault: true, List: []types.JID{types.NewJID("15550003", types.DefaultUserServer)},
	}}, privacy)
	a.sendTo(simulator.StatusChat, "for one alone")
	shows(t, three, simulator.StatusChat, "for one alone")
	require.NoError(t, one.SetStatusPrivacy(ctx, "blacklist", "15550002"))
	_, err = one.SendText(ctx, simulator.StatusChat, "for all but one")
	require.NoError(t, err)
	a.text(simulator.StatusChat, "for all but one")
	for _, d := range s.Devices() {
		require.NoError(t, d.WaitDrained(ctx))
	}
	for _, m := range two.Messages(simulator.StatusChat) {
		require.NotContains(t, m.Text, "one alone")
		require.NotContains(t, m.Text, "but one")
	}
	require.ErrorIs(t, one.SetStatusPrivacy(ctx, "friends"), simulator.ErrPrivacy)

	_, err = a.SendMessage(ctx, types.NewJID("123", types.BroadcastServer), &waE2E.Message{Conversation: proto.String("x")})
	require.ErrorIs(t, err, whatsmeow.ErrBroadcastListUnsupported)
}

func TestAStatusThatCannotBeReadIsAskedForAgain(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, one)
	ctx := simtest.Within(t, 60*time.Second)
	require.NoError(t, c.Store.Contacts.PutContactName(ctx, types.NewJID("15550002", types.DefaultUserServer), "Two", "Number Two"))
	_, err := two.SendText(ctx, "15550001", "we have met")
	require.NoError(t, err)
	require.Len(t, c.waitTexts(1), 1)
	c.sendTo(simulator.StatusChat, "one")
	shows(t, two, simulator.StatusChat, "one")
	require.NoError(t, two.ForgetSessions())
	c.sendTo(simulator.StatusChat, "two")
	shows(t, two, simulator.StatusChat, "two")

	_, err = two.SendText(ctx, simulator.StatusChat, "three")
	require.NoError(t, err)
	c.text(simulator.StatusChat, "three")
	sender := types.NewJID(two.LID(), types.HiddenUserServer).SignalAddress().String()
	require.NoError(t, c.Store.SenderKeys.PutSenderKey(ctx, simulator.StatusChat, sender, []byte{}))
	_, err = two.SendText(ctx, simulator.StatusChat, "four")
	require.NoError(t, err)
	c.text(simulator.StatusChat, "four")
}
