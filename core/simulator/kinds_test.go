package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

const (
	hubNumber    = "15550001"
	friendNumber = "15550002"
)

// world is a client of one number, its phone, and a friend's phone.
func world(t testing.TB, dir string) (*simulator.Server, *client, *simulator.Phone, *simulator.Phone) {
	t.Helper()
	s := newServer(t, dir)
	owner, friend := simtest.AddPhone(t, s, hubNumber), simtest.AddPhone(t, s, friendNumber)
	c, _ := paired(t, s, owner)
	return s, c, owner, friend
}

func pn(number string) types.JID { return types.NewJID(number, types.DefaultUserServer) }

// got waits for the message with an id.
func (c *client) got(id string) *events.Message {
	c.t.Helper()
	return waitEvent(c, func(m *events.Message) bool { return m.Info.ID == id })
}

func (c *client) sendMessage(to types.JID, msg *waE2E.Message) string {
	c.t.Helper()
	resp, err := c.SendMessage(simtest.Within(c.t, 30*time.Second), to, msg)
	require.NoError(c.t, err)
	return resp.ID
}

func waitShown(t testing.TB, p *simulator.Phone, match func(simulator.Message) bool) simulator.Message {
	t.Helper()
	m, err := p.WaitMessage(simtest.Within(t, 30*time.Second), match)
	require.NoError(t, err)
	return m
}

func byID(id string) func(simulator.Message) bool {
	return func(m simulator.Message) bool { return m.ID == id }
}

func TestPhoneSendsEachKindToAClient(t *testing.T) {
	_, c, _, friend := world(t, "")
	ctx := simtest.Within(t, time.Minute)
	send := func(id string, err error) *events.Message {
		t.Helper()
		require.NoError(t, err)
		m := c.got(id)
		require.Equal(t, pn(friendNumber), m.Info.Chat)
		require.Equal(t, "Name of "+friendNumber, m.Info.PushName)
		return m
	}
	first := send(friend.SendText(ctx, hubNumber, "plain"))
	require.Equal(t, "plain", first.Message.GetConversation())

	m := send(friend.SendText(ctx, hubNumber, "hello @"+hubNumber, simulator.SendOptions{
		Quote: first.Info.ID, Mentions: []string{hubNumber}, Forwarded: true,
	}))
	info := m.Message.GetExtendedTextMessage().GetContextInfo()
	require.Equal(t, first.Info.ID, info.GetStanzaID())
	require.Equal(t, "plain", info.GetQuotedMessage().GetConversation())
	require.Equal(t, pn(friendNumber).String(), info.GetParticipant())
	require.Equal(t, []string{pn(hubNumber).String()}, info.GetMentionedJID())
	require.True(t, info.GetIsForwarded())

	m = send(friend.SendLocation(ctx, hubNumber, simulator.Location{Latitude: 52.5, Longitude: 13.4, Name: "Gate"}, simulator.SendOptions{}))
	require.InDelta(t, 52.5, m.Message.GetLocationMessage().GetDegreesLatitude(), 1e-9)
	require.Equal(t, "Gate", m.Message.GetLocationMessage().GetName())

	m = send(friend.SendContacts(ctx, hubNumber, []simulator.Contact{{Name: "Ann", VCard: "BEGIN:VCARD\nEND:VCARD"}}, simulator.SendOptions{}))
	require.Equal(t, "Ann", m.Message.GetContactMessage().GetDisplayName())
	require.Equal(t, "media", m.Info.Type)
	require.Equal(t, "vcard", m.Info.MediaType)
	m = send(friend.SendContacts(ctx, hubNumber, []simulator.Contact{{Name: "Ann", VCard: "BEGIN:VCARD\nEND:VCARD"}, {Name: "Bob", VCard: "BEGIN:VCARD\nEND:VCARD"}}, simulator.SendOptions{}))
	require.Len(t, m.Message.GetContactsArrayMessage().GetContacts(), 2)

	m = send(friend.SendText(ctx, hubNumber, "gone soon", simulator.SendOptions{Expires: 86400}))
	require.True(t, m.IsEphemeral)
	require.EqualValues(t, 86400, m.Message.GetExtendedTextMessage().GetContextInfo().GetExpiration())

	id, err := friend.Send(ctx, hubNumber, &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: proto.String("once")}}, simulator.SendOptions{ViewOnce: true})
	m = send(id, err)
	require.True(t, m.IsViewOnce)
	require.Equal(t, "once", m.Message.GetImageMessage().GetCaption())
	require.Equal(t, "image", m.Info.MediaType)

	_, err = friend.SendText(ctx, hubNumber, "text", simulator.SendOptions{ViewOnce: true})
	require.ErrorIs(t, err, simulator.ErrMessage)
	_, err = friend.SendPoll(ctx, hubNumber, "?", []string{"one"}, 1, simulator.SendOptions{})
	require.ErrorIs(t, err, simulator.ErrMessage)
	_, err = friend.SendContacts(ctx, hubNumber, nil, simulator.SendOptions{})
	require.ErrorIs(t, err, simulator.ErrMessage)
	_, err = friend.SendText(ctx, "15559999", "nobody")
	require.ErrorIs(t, err, simulator.ErrUnknownNumber)

	chat := friend.Messages(hubNumber)
	require.Len(t, chat, 7)
	require.Equal(t, []string{hubNumber}, friend.Chats())
	require.Equal(t, []string{hubNumber}, chat[1].Mentions)
	require.Equal(t, simulator.KindLocation, chat[2].Kind)
	require.True(t, chat[6].ViewOnce)
}

func TestClientSendsEachKindToAPhone(t *testing.T) {
	_, c, owner, friend := world(t, "")
	to := pn(friendNumber)
	show := func(msg *waE2E.Message) simulator.Message {
		t.Helper()
		id := c.sendMessage(to, msg)
		m := waitShown(t, friend, byID(id))
		require.Equal(t, hubNumber, m.Chat)
		require.Equal(t, hubNumber, m.From)
		own := waitShown(t, owner, byID(id)) // the copy of what a companion sent
		require.Equal(t, friendNumber, own.Chat)
		require.Equal(t, hubNumber, own.From)
		require.Equal(t, m.Kind, own.Kind)
		return m
	}
	first := show(&waE2E.Message{Conversation: proto.String("plain")})
	m := show(&waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text: proto.String("answer"), ContextInfo: &waE2E.ContextInfo{
			StanzaID: proto.String(first.ID), Participant: proto.String(pn(hubNumber).String()),
			QuotedMessage: &waE2E.Message{Conversation: proto.String("plain")},
			MentionedJID:  []string{pn(friendNumber).String(), "15557777@s.whatsapp.net"}, IsForwarded: proto.Bool(true),
		},
	}})
	require.Equal(t, first.ID, m.Quoted)
	require.Equal(t, []string{friendNumber, "15557777@s.whatsapp.net"}, m.Mentions)
	require.True(t, m.Forwarded)
	m = show(&waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: proto.Float64(1), DegreesLongitude: proto.Float64(2), Address: proto.String("Road")}})
	require.Equal(t, &simulator.Location{Latitude: 1, Longitude: 2, Address: "Road"}, m.Location)
	m = show(&waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: proto.String("Ann"), Vcard: proto.String("card")}})
	require.Equal(t, []simulator.Contact{{Name: "Ann", VCard: "card"}}, m.Contacts)
	m = show(&waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text: proto.String("gone soon"), ContextInfo: &waE2E.ContextInfo{Expiration: proto.Uint32(604800)},
	}}}})
	require.EqualValues(t, 604800, m.Expires)
	m = show(&waE2E.Message{ViewOnceMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: proto.String("once")}}}})
	require.True(t, m.ViewOnce)
	require.Equal(t, "once", m.Text)
	for kind, msg := range map[string]*waE2E.Message{
		simulator.KindVideo:    {VideoMessage: &waE2E.VideoMessage{Caption: proto.String("c")}},
		simulator.KindAudio:    {AudioMessage: &waE2E.AudioMessage{Seconds: proto.Uint32(3)}},
		simulator.KindVoice:    {AudioMessage: &waE2E.AudioMessage{PTT: proto.Bool(true)}},
		simulator.KindDocument: {DocumentMessage: &waE2E.DocumentMessage{FileName: proto.String("a.pdf")}},
		simulator.KindSticker:  {StickerMessage: &waE2E.StickerMessage{Width: proto.Uint32(1)}},
		simulator.KindOther:    {GroupInviteMessage: &waE2E.GroupInviteMessage{GroupName: proto.String("g")}},
	} {
		require.Equal(t, kind, show(msg).Kind)
	}
}

func TestReactionsEditsAndRevocationsChangeWhatIsShown(t *testing.T) {
	long(t)
	for _, hidden := range []bool{false, true} {
		name := map[bool]string{false: "by number", true: "by LID"}[hidden]
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, c, _, friend := world(t, dir)
			ctx := simtest.Within(t, time.Minute)
			chat := pn(friendNumber)
			if hidden {
				chat = types.NewJID(friend.LID(), types.HiddenUserServer)
			}
			theirs, err := friend.SendText(ctx, hubNumber, "theirs", simulator.SendOptions{ByLID: hidden})
			require.NoError(t, err)
			require.Equal(t, chat, c.got(theirs).Info.Chat)
			ours := c.sendMessage(chat, &waE2E.Message{Conversation: proto.String("ours")})
			waitShown(t, friend, byID(ours))

			// From the phone, on both.
			for _, target := range []string{theirs, ours} {
				id, err := friend.React(ctx, hubNumber, target, "👍")
				require.NoError(t, err)
				r := c.got(id).Message.GetReactionMessage()
				require.Equal(t, "👍", r.GetText())
				require.Equal(t, target, r.GetKey().GetID())
				require.Equal(t, target == theirs, r.GetKey().GetFromMe())
				require.Equal(t, "reaction", c.got(id).Info.Type)
			}
			id, err := friend.Edit(ctx, hubNumber, theirs, "theirs, mended")
			require.NoError(t, err)
			edit := c.got(id)
			require.True(t, edit.IsEdit)
			require.Equal(t, types.EditAttributeMessageEdit, edit.Info.Edit)
			require.Equal(t, theirs, edit.Message.GetProtocolMessage().GetKey().GetID())
			require.Equal(t, "theirs, mended", edit.Message.GetProtocolMessage().GetEditedMessage().GetConversation())
			_, err = friend.Edit(ctx, hubNumber, ours, "not mine")
			require.ErrorIs(t, err, simulator.ErrNotYours)
			_, err = friend.Revoke(ctx, hubNumber, ours)
			require.ErrorIs(t, err, simulator.ErrNotYours)
			_, err = friend.React(ctx, hubNumber, "nothing", "👍")
			require.ErrorIs(t, err, simulator.ErrUnknownMessage)

			// From the client, on both.
			c.sendMessage(chat, c.BuildReaction(chat, chat, theirs, "🎉"))
			c.sendMessage(chat, c.BuildReaction(chat, types.EmptyJID, ours, "🙈"))
			c.sendMessage(chat, c.BuildEdit(chat, ours, &waE2E.Message{Conversation: proto.String("ours, mended")}))
			m := waitShown(t, friend, func(m simulator.Message) bool { return m.ID == ours && m.Edited })
			require.Equal(t, "ours, mended", m.Text)
			require.Equal(t, map[string]string{friendNumber: "👍", hubNumber: "🙈"}, m.Reactions)
			m, ok := friend.Message(hubNumber, theirs)
			require.True(t, ok)
			require.Equal(t, "theirs, mended", m.Text)
			require.Equal(t, map[string]string{friendNumber: "👍", hubNumber: "🎉"}, m.Reactions)

			// Taken back, by both.
			c.sendMessage(chat, c.BuildReaction(chat, chat, theirs, whatsmeow.RemoveReactionText))
			c.sendMessage(chat, c.BuildRevoke(chat, types.EmptyJID, ours))
			m = waitShown(t, friend, func(m simulator.Message) bool { return m.ID == ours && m.Revoked })
			require.Empty(t, m.Text)
			m, _ = friend.Message(hubNumber, theirs)
			require.Equal(t, map[string]string{friendNumber: "👍"}, m.Reactions)
			id, err = friend.Revoke(ctx, hubNumber, theirs)
			require.NoError(t, err)
			revoke := c.got(id)
			require.Equal(t, types.EditAttributeSenderRevoke, revoke.Info.Edit)
			require.Equal(t, theirs, revoke.Message.GetProtocolMessage().GetKey().GetID())
			// Someone else's message cannot be taken back.
			other, err := friend.SendText(ctx, hubNumber, "stays", simulator.SendOptions{ByLID: hidden})
			require.NoError(t, err)
			c.got(other)
			c.sendMessage(chat, c.BuildRevoke(chat, chat, other))
			after := c.send(friendNumber, "after it")
			waitShown(t, friend, byID(after))
			m, _ = friend.Message(hubNumber, other)
			require.False(t, m.Revoked)
			c.sendMessage(chat, c.BuildReaction(chat, chat, other, "🎈"))
			waitChanged(t, friend, hubNumber, other, func(m simulator.Message) bool { return len(m.Reactions) > 0 })
			id, err = friend.Edit(ctx, hubNumber, other, "stays, mended")
			require.NoError(t, err)
			c.got(id)

			// All of it is there after a restart.
			want := friend.Messages(hubNumber)
			require.NoError(t, s.Close())
			got := newServer(t, dir).Phone(friendNumber).Messages(hubNumber)
			require.Empty(t, cmp.Diff(want, got, protocmp.Transform(), cmpopts.IgnoreUnexported(simulator.Message{}), cmpopts.EquateEmpty()))
		})
	}
}

func TestPollsAndVotesBothWays(t *testing.T) {
	long(t)
	for _, hidden := range []bool{false, true} {
		name := map[bool]string{false: "by number", true: "by LID"}[hidden]
		t.Run(name, func(t *testing.T) {
			_, c, owner, friend := world(t, "")
			ctx := simtest.Within(t, time.Minute)
			chat := pn(friendNumber)
			if hidden {
				chat = types.NewJID(friend.LID(), types.HiddenUserServer)
			}
			id, err := friend.SendPoll(ctx, hubNumber, "Lunch?", []string{"yes", "no", "later"}, 2, simulator.SendOptions{ByLID: hidden})
			require.NoError(t, err)
			poll := c.got(id)
			require.Equal(t, "poll", poll.Info.Type)
			require.Equal(t, "Lunch?", poll.Message.GetPollCreationMessage().GetName())
			vote, err := c.BuildPollVote(ctx, &poll.Info, []string{"yes", "later"})
			require.NoError(t, err)
			c.sendMessage(chat, vote)
			m := waitChanged(t, friend, hubNumber, id, func(m simulator.Message) bool { return len(m.Poll.Votes) > 0 })
			require.Equal(t, map[string][]string{hubNumber: {"yes", "later"}}, m.Poll.Votes)
			// The voter's own phone follows.
			m = waitChanged(t, owner, friendNumber, id, func(m simulator.Message) bool { return len(m.Poll.Votes) > 0 })
			require.Equal(t, map[string][]string{hubNumber: {"yes", "later"}}, m.Poll.Votes)

			ours := c.sendMessage(chat, c.BuildPollCreation("When?", []string{"now", "then"}, 1))
			waitShown(t, friend, byID(ours))
			id, err = friend.Vote(ctx, hubNumber, ours, "then")
			require.NoError(t, err)
			decrypted, err := c.DecryptPollVote(ctx, c.got(id))
			require.NoError(t, err)
			require.Equal(t, whatsmeow.HashPollOptions([]string{"then"}), decrypted.GetSelectedOptions())
			_, err = friend.Vote(ctx, hubNumber, ours, "never")
			require.ErrorIs(t, err, simulator.ErrUnknownMessage)
			_, err = friend.Vote(ctx, hubNumber, ours, "now", "then")
			require.ErrorIs(t, err, simulator.ErrMessage)
			id, err = friend.Vote(ctx, hubNumber, ours)
			require.NoError(t, err)
			decrypted, err = c.DecryptPollVote(ctx, c.got(id))
			require.NoError(t, err)
			require.Empty(t, decrypted.GetSelectedOptions())
		})
	}
}

// waitChanged waits until a phone's message, received or sent, is as match wants it.
func waitChanged(t testing.TB, p *simulator.Phone, chat, id string, match func(simulator.Message) bool) simulator.Message {
	t.Helper()
	m, err := p.WaitChanged(simtest.Within(t, 30*time.Second), chat, id, match)
	require.NoError(t, err)
	return m
}

func TestReadReceiptsBothWays(t *testing.T) {
	long(t)
	_, c, owner, friend := world(t, "")
	ctx := simtest.Within(t, time.Minute)
	second, _ := paired(t, c.s.(*simulator.Server), owner)
	id := c.send(friendNumber, "read me")
	waitShown(t, friend, byID(id))
	require.NoError(t, friend.Read(ctx, hubNumber, id))
	for _, companion := range []*client{c, second} {
		r := waitEvent(companion, func(r *events.Receipt) bool { return r.Type == types.ReceiptTypeRead })
		require.Equal(t, []string{id}, r.MessageIDs)
		require.Equal(t, pn(friendNumber), r.Chat)
	}
	theirs, err := friend.SendText(ctx, hubNumber, "read me, too")
	require.NoError(t, err)
	c.got(theirs)
	waitShown(t, owner, byID(theirs))
	require.NoError(t, owner.Read(ctx, friendNumber, theirs))
	require.NoError(t, friend.WaitDelivery(ctx, theirs, func(_ int, read bool) bool { return read }))
	self := waitEvent(c, func(r *events.Receipt) bool { return r.Type == types.ReceiptTypeReadSelf })
	require.Equal(t, pn(friendNumber), self.Chat)
	require.ErrorIs(t, friend.Read(ctx, hubNumber, "nothing"), simulator.ErrUnknownMessage)

	// A client reads what a phone wrote.
	another, err := friend.SendText(ctx, hubNumber, "and me")
	require.NoError(t, err)
	m := c.got(another)
	require.NoError(t, c.MarkRead(ctx, []types.MessageID{another}, time.Now(), m.Info.Chat, m.Info.Sender))
	require.NoError(t, friend.WaitDelivery(ctx, another, func(_ int, read bool) bool { return read }))
}

func TestDisappearingMessagesAreSetForAChat(t *testing.T) {
	dir := t.TempDir()
	s, c, _, friend := world(t, dir)
	ctx := simtest.Within(t, time.Minute)
	require.NoError(t, friend.SetDisappearing(ctx, hubNumber, 604800))
	setting := waitEvent(c, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_EPHEMERAL_SETTING
	})
	require.EqualValues(t, 604800, setting.Message.GetProtocolMessage().GetEphemeralExpiration())
	id, err := friend.SendText(ctx, hubNumber, "gone in a week")
	require.NoError(t, err)
	require.True(t, c.got(id).IsEphemeral)

	require.NoError(t, s.Close())
	again := newServer(t, dir)
	friend = again.Phone(friendNumber)
	id, err = friend.SendText(ctx, hubNumber, "still")
	require.NoError(t, err)
	m, _ := friend.Message(hubNumber, id)
	require.EqualValues(t, 604800, m.Expires)
	require.NoError(t, friend.SetDisappearing(ctx, hubNumber, 0))
	id, err = friend.SendText(ctx, hubNumber, "stays")
	require.NoError(t, err)
	m, _ = friend.Message(hubNumber, id)
	require.Zero(t, m.Expires)
}

func TestAMessageThatComesAgainChangesNothingTwice(t *testing.T) {
	_, c, _, friend := world(t, "")
	id := c.send(friendNumber, "once")
	waitShown(t, friend, byID(id))
	// The same id once more, as after a send whose answer was lost.
	_, err := c.SendMessage(simtest.Within(t, 30*time.Second), pn(friendNumber), &waE2E.Message{Conversation: proto.String("once")}, whatsmeow.SendRequestExtra{ID: id})
	require.NoError(t, err)
	m := waitShown(t, friend, func(m simulator.Message) bool { return m.ID == id && m.Copies == 2 })
	require.Equal(t, "once", m.Text)
	require.Len(t, friend.Received(0), 1)
}

func TestLongAndOddTextsArrive(t *testing.T) {
	_, c, _, friend := world(t, "")
	for _, text := range []string{"", strings.Repeat("ä🙈", 20000), "a\x00b\nc"} {
		id, err := friend.SendText(t.Context(), hubNumber, text)
		require.NoError(t, err)
		require.Equal(t, text, c.got(id).Message.GetConversation())
	}
}
