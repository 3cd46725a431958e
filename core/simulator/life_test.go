package simulator_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
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

func TestTwoAccountsAndASecondCompanionSeeTheSameChat(t *testing.T) {
	long(t)
	s := newServer(t, "")
	alice, bob := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a1, _ := paired(t, s, alice)
	b1, _ := paired(t, s, bob)
	ctx := simtest.Within(t, 60*time.Second)

	a1.send("15550002", "one")
	require.Equal(t, []string{"one"}, b1.waitTexts(1))
	b1.send("15550001", "two")
	require.Equal(t, []string{"two"}, a1.waitTexts(1))

	// A companion that comes later is told to both sides: neither asks for devices again by itself.
	a2, d2 := paired(t, s, alice)
	for _, d := range s.Devices() {
		require.NoError(t, d.WaitDrained(ctx))
	}
	id := a1.send("15550002", "three")
	require.Equal(t, []string{"three"}, a2.waitTexts(1))
	require.True(t, a2.messages[0].Info.IsFromMe)
	require.Equal(t, "15550002", a2.messages[0].Info.Chat.User)
	b1.send("15550001", "four")
	require.Equal(t, []string{"three", "four"}, a2.waitTexts(2))
	require.Equal(t, []string{"two", "four"}, a1.waitTexts(2))
	_, err := alice.SendText(ctx, "15550002", "five")
	require.NoError(t, err)
	require.Equal(t, []string{"three", "four", "five"}, a2.waitTexts(3))
	require.Equal(t, []string{"one", "three", "five"}, b1.waitTexts(3))
	waitEvent(a1, func(r *events.Receipt) bool { return r.MessageIDs[0] == id && r.Type == types.ReceiptTypeSender })

	require.NoError(t, d2.Unlink())
	waitEvent(a2, simtest.AnyOf[*events.LoggedOut])
	b1.send("15550001", "six")
	require.Equal(t, []string{"two", "four", "five", "six"}, a1.waitTexts(4))
}

func TestARefusedMessageComesBackInOrderToANewClient(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	c.Disconnect()
	require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
	var refused atomic.Int32
	c.renew(true)
	c.refuse = func(m *events.Message) bool { // this one, and then everything, as a client that may lose nothing does
		if m.Info.Category != "peer" && (refused.Load() > 0 || m.Message.GetConversation() == "3") {
			refused.Add(1)
		}
		return refused.Load() > 0
	}
	require.NoError(t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.Connected])
	ctx := simtest.Within(t, 30*time.Second)
	for i := range 10 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"0", "1", "2"}, c.waitTexts(3))
	// All of them: what the old client still decrypts while the new one does could be lost to both.
	require.Eventually(t, func() bool { return refused.Load() == 7 }, 10*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, d.Pending(), 7)
	c.Disconnect()
	c.renew(true)
	c.Lock()
	c.refuse = nil
	c.Unlock()
	require.NoError(t, c.Connect())
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, c.waitTexts(10))
	require.NoError(t, d.WaitDrained(ctx))
}

func TestWhatWaitedOfflineComesInOrderAndIsAnnounced(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, d := paired(t, s, owner)
	waitEvent(c, simtest.AnyOf[*events.OfflineSyncCompleted]) // of the first login: it must not be taken for that of the second
	c.Disconnect()
	ctx := simtest.Within(t, 60*time.Second)
	require.NoError(t, d.WaitOffline(ctx))
	c.Forget()
	const strangers, each = 5, 300 // more than the window
	want := map[string][]string{}
	for i := range each {
		for j := range strangers {
			number := fmt.Sprint(15551000 + j)
			if i == 0 {
				simtest.AddPhone(t, s, number)
			}
			_, err := s.Phone(number).SendText(ctx, "15550001", fmt.Sprint(i))
			require.NoError(t, err)
			want[number] = append(want[number], fmt.Sprint(i))
		}
	}
	require.Equal(t, strangers*each, d.Pending())
	c.renew(true)
	require.NoError(t, c.Connect())
	preview := waitEvent(c, simtest.AnyOf[*events.OfflineSyncPreview])
	require.Equal(t, strangers*each, preview.Messages)
	require.NoError(t, d.WaitDrained(ctx))
	done := waitEvent(c, simtest.AnyOf[*events.OfflineSyncCompleted])
	require.Equal(t, strangers*each, done.Count)
	c.waitTexts(strangers * each)
	got := map[string][]string{}
	for _, m := range c.messages {
		got[m.Info.Chat.User] = append(got[m.Info.Chat.User], m.Message.GetConversation())
	}
	require.Equal(t, want, got)
}

func TestAClientThatIsCutOffReconnectsAndLosesNothing(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	var want []string
	for i := range 60 {
		if i%20 == 10 {
			d.Cut()
		}
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
		want = append(want, fmt.Sprint(i))
	}
	// Not in order, and some twice: whatsmeow is still handling a message of the lost connection
	// while it begins with those of the next one. Only a new client gets them in order.
	got := map[string]bool{}
	c.wait("all messages", func() bool {
		for _, m := range c.messages {
			got[m.Message.GetConversation()] = true
		}
		return len(got) == len(want)
	})
	for _, text := range want {
		require.Contains(t, got, text)
	}
	require.NoError(t, d.WaitDrained(ctx))
	require.Greater(t, d.Logins(), uint64(1))
	waitEvent(c, simtest.AnyOf[*events.Disconnected])
}

func TestASecondConnectionReplacesTheFirst(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	c.renew(false)
	require.NoError(t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.StreamReplaced])
	ctx := simtest.Within(t, 30*time.Second)
	_, err := stranger.SendText(ctx, "15550001", "to the second")
	require.NoError(t, err)
	require.Equal(t, []string{"to the second"}, c.waitTexts(1))
	require.NoError(t, d.WaitDrained(ctx))
	require.Eventually(t, func() bool { return s.Stats().Connections == 1 }, 10*time.Second, 10*time.Millisecond)
}

func TestLogoutRemovesTheCompanion(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, d := paired(t, s, owner)
	require.NoError(t, c.Logout(simtest.Within(t, 10*time.Second)))
	require.NoError(t, d.WaitRemoved(simtest.Within(t, 10*time.Second)))
	require.Empty(t, owner.Companions())
}

func TestUnlinkLogsOutAtOnceOrAtTheNextLogin(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	online, _ := paired(t, s, owner)
	offline, d := paired(t, s, owner)
	offline.Disconnect()
	require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
	require.NoError(t, owner.Unlink())
	out := waitEvent(online, simtest.AnyOf[*events.LoggedOut])
	require.False(t, out.OnConnect)
	require.NoError(t, offline.Connect())
	out = waitEvent(offline, simtest.AnyOf[*events.LoggedOut])
	require.True(t, out.OnConnect)
	require.Equal(t, events.ConnectFailureLoggedOut, out.Reason)
}

func TestStreamErrorsReachTheClient(t *testing.T) {
	long(t)
	s := newServer(t, "")
	c, d := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	d.StreamError(503)
	waitEvent(c, simtest.AnyOf[*events.Disconnected])
	require.Eventually(t, func() bool { return d.Logins() == 2 }, 20*time.Second, 10*time.Millisecond, "reconnects by itself")
	d.StreamError(409)
	waitEvent(c, simtest.AnyOf[*events.StreamReplaced])
}

func TestAClientThatLostItsSessionsGetsTheMessageAgain(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	_, err := stranger.SendText(ctx, "15550001", "before")
	require.NoError(t, err)
	c.waitTexts(1)
	c.send("15550002", "so that the session is established both ways")
	_, err = stranger.WaitReceived(ctx, 1)
	require.NoError(t, err)
	_, err = stranger.SendText(ctx, "15550001", "an ordinary ciphertext")
	require.NoError(t, err)
	c.waitTexts(2)
	require.NoError(t, c.Store.Sessions.DeleteAllSessions(ctx, stranger.LID()+"_1"))
	for i := range 3 {
		_, err = stranger.SendText(ctx, "15550001", fmt.Sprint("lost ", i))
		require.NoError(t, err)
	}
	require.ElementsMatch(t, []string{"before", "an ordinary ciphertext", "lost 0", "lost 1", "lost 2"}, c.waitTexts(5))
	waitEvent(c, simtest.AnyOf[*events.UndecryptableMessage])
	require.NoError(t, d.WaitDrained(ctx))
	require.Empty(t, s.Violations())
}

func TestAPhoneThatLostItsSessionsAsksForTheMessageAgain(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	c.send("15550002", "before")
	_, err := stranger.SendText(ctx, "15550001", "established")
	require.NoError(t, err)
	c.waitTexts(1)
	require.NoError(t, stranger.ForgetSessions())
	id := c.send("15550002", "after")
	list, err := stranger.WaitReceived(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"before", "after"}, []string{list[0].Text, list[1].Text})
	require.Equal(t, id, list[1].ID)
	require.Equal(t, 1, list[1].Copies)
}

func TestAMessageSentTwiceIsShownOnceAndCounted(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	for range 3 {
		_, err := c.SendMessage(ctx, types.NewJID("15550002", types.DefaultUserServer),
			&waE2E.Message{Conversation: proto.String("again")}, whatsmeow.SendRequestExtra{ID: "3EB0AAAA"})
		require.NoError(t, err)
	}
	m, err := stranger.WaitMessage(ctx, func(m simulator.Message) bool { return m.Copies == 3 })
	require.NoError(t, err)
	require.Equal(t, "again", m.Text)
	require.Len(t, stranger.Received(0), 1)
}

func TestTwentyStrangersAreAnsweredInOrder(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	const strangers, each = 20, 10
	for j := range strangers {
		p := simtest.AddPhone(t, s, fmt.Sprint(15551000+j))
		p.AutoReply(func(text string) string { return "re " + text })
		c.send(p.Number(), "hello")
		for i := range each - 1 {
			_, err := p.SendText(ctx, "15550001", fmt.Sprint(i))
			require.NoError(t, err)
		}
	}
	c.waitTexts(strangers * each)
	require.NoError(t, d.WaitDrained(ctx))
	got := map[string][]string{}
	for _, m := range c.messages {
		if body := m.Message.GetConversation(); body != "" {
			got[m.Info.Chat.User] = append(got[m.Info.Chat.User], body)
		} else {
			require.Equal(t, "re hello", m.Message.GetExtendedTextMessage().GetText())
			require.NotEmpty(t, m.Message.GetExtendedTextMessage().GetContextInfo().GetStanzaID())
		}
	}
	require.Len(t, got, strangers)
	for number, texts := range got {
		for i, body := range texts {
			require.Equal(t, fmt.Sprint(i), body, number)
		}
		require.Len(t, texts, each-1)
	}
}

func TestUsersAreFoundByNumberOnly(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	found, err := c.IsOnWhatsApp(ctx, []string{"+15550002", "+15559999"})
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.True(t, found[0].IsIn)
	require.Equal(t, "+15550002", found[0].Query)
	require.Equal(t, "15550002@s.whatsapp.net", found[0].JID.String())
	require.False(t, found[1].IsIn)
	jid := types.NewJID("15550002", types.DefaultUserServer)
	info, err := c.GetUserInfo(ctx, []types.JID{jid})
	require.NoError(t, err)
	require.Equal(t, stranger.LID(), info[jid].LID.User)
	// What is not built is refused, never left hanging.
	_, err = c.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureNotSet)
	_, err = c.GetBlocklist(ctx)
	require.NoError(t, err)
	groups, err := c.GetJoinedGroups(ctx)
	require.NoError(t, err)
	require.Empty(t, groups)
	require.NoError(t, c.SetStatusMessage(ctx, "busy"))
	c.Store.PushName = "Renamed"
	require.NoError(t, c.SendPresence(ctx, types.PresenceAvailable))
	require.NoError(t, c.SendChatPresence(ctx, jid, types.ChatPresenceComposing, types.ChatPresenceMediaText))
	require.NoError(t, c.FetchAppState(ctx, "regular", true, false))
	require.Eventually(t, func() bool { return owner.Name() == "Renamed" }, 10*time.Second, time.Millisecond)
}

func TestLIDAddressingReachesTheSameChat(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	_, err := stranger.SendText(ctx, "15550001", "by number")
	require.NoError(t, err)
	_, err = stranger.SendText(ctx, "15550001", "by LID", simulator.SendOptions{ByLID: true})
	require.NoError(t, err)
	require.Equal(t, []string{"by number", "by LID"}, c.waitTexts(2))
	require.Equal(t, types.HiddenUserServer, c.messages[1].Info.Chat.Server)
	require.Equal(t, "15550002", c.messages[1].Info.SenderAlt.User)
	_, err = c.SendMessage(ctx, types.NewJID(stranger.LID(), types.HiddenUserServer), &waE2E.Message{Conversation: proto.String("back")})
	require.NoError(t, err)
	list, err := stranger.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "15550001", list[0].Chat)
}

func TestPrekeysRunOutAndAreReplenished(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	start := d.PreKeys()
	require.Greater(t, start, 700)
	peer, _ := paired(t, s, simtest.AddPhone(t, s, "15550002"))
	ask := make([]types.JID, start-4) // as anyone may ask for keys
	for i := range ask {
		ask[i] = d.JID()
	}
	_, err := peer.DangerousInternals().FetchPreKeys(ctx, ask) //nolint:staticcheck // a message would ask for one
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.PreKeys() >= 50 }, 20*time.Second, time.Millisecond)
	peer.send("15550001", "still readable")
	require.Equal(t, []string{"still readable"}, c.waitTexts(1))
}

func TestQRsThatAreNotOursAreRefused(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	_, err := owner.LinkQR(ctx, "hello")
	require.ErrorIs(t, err, simulator.ErrQR)
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	_, err = owner.LinkQR(ctx, strings.Join([]string{"2@x", key, key, key}, ","))
	require.ErrorIs(t, err, simulator.ErrQRExpired)

	// The newer form of the text; and one scan uses it up.
	c := newClient(t, s)
	qr, err := c.GetQRChannel(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	code := "https://wa.me/settings/linked_devices#" + (<-qr).Code
	_, err = owner.LinkQR(ctx, code)
	require.NoError(t, err)
	for range qr {
	}
	waitEvent(c, simtest.AnyOf[*events.Connected])
	_, err = owner.LinkQR(ctx, code)
	require.ErrorIs(t, err, simulator.ErrQRExpired)
}

func TestAClientMayRefuseToBePaired(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c := newClient(t, s)
	c.PrePairCallback = func(types.JID, string, string) bool { return false }
	ctx := simtest.Within(t, 30*time.Second)
	qr, err := c.GetQRChannel(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	_, err = owner.LinkQR(ctx, (<-qr).Code)
	require.ErrorIs(t, err, simulator.ErrPairRefused)
	require.Empty(t, owner.Companions())
}
