package simulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestPresenceAndTypingGoBothWays(t *testing.T) {
	s := newServer(t, "")
	c, d, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, c.SendPresence(ctx, types.PresenceAvailable))
	require.NoError(t, other.WaitPresence(ctx, "15550001", true))
	require.NoError(t, c.SubscribePresence(ctx, jidOf("15550002")))
	first := waitEvent(c, simtest.AnyOf[*events.Presence])
	require.True(t, first.Unavailable)
	require.Zero(t, first.LastSeen)
	require.NoError(t, other.Presence(ctx, true))
	there := waitEvent(c, func(e *events.Presence) bool { return !e.Unavailable })
	require.Equal(t, jidOf("15550002"), there.From)
	c.Forget()
	require.NoError(t, other.Presence(ctx, false))
	gone := waitEvent(c, simtest.AnyOf[*events.Presence])
	require.True(t, gone.Unavailable)
	require.WithinDuration(t, time.Now(), gone.LastSeen, time.Minute)

	for _, state := range []simulator.Typing{simulator.Composing, simulator.Recording, simulator.Paused} {
		c.Forget()
		require.NoError(t, other.Typing(ctx, "15550001", state))
		seen := waitEvent(c, simtest.AnyOf[*events.ChatPresence])
		require.Equal(t, jidOf("15550002"), seen.Sender)
		require.Equal(t, state == simulator.Paused, seen.State == types.ChatPresencePaused)
		require.Equal(t, state == simulator.Recording, seen.Media == types.ChatPresenceMediaAudio)
	}
	require.ErrorIs(t, other.Typing(ctx, "15550001", "singing"), simulator.ErrTyping)
	require.NoError(t, c.SendChatPresence(ctx, jidOf("15550002"), types.ChatPresenceComposing, types.ChatPresenceMediaText))
	require.NoError(t, other.WaitTyping(ctx, "15550001", simulator.Composing))
	require.NoError(t, c.SendChatPresence(ctx, jidOf("15550002"), types.ChatPresenceComposing, types.ChatPresenceMediaAudio))
	require.NoError(t, other.WaitTyping(ctx, "15550001", simulator.Recording))
	require.NoError(t, c.SendChatPresence(ctx, types.NewJID(other.LID(), types.HiddenUserServer), types.ChatPresencePaused, ""))
	require.NoError(t, other.WaitTyping(ctx, "15550001", simulator.Paused))

	d.Cut()
	require.NoError(t, other.WaitPresence(ctx, "15550001", false), "a lost connection is not there")
	_, seen := other.PresenceOf("15550001")
	require.WithinDuration(t, time.Now(), seen, time.Minute)
}

func TestOnlyWhoIsAvailableAndAllowedIsToldOfPresence(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir)
	c, _, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, c.SubscribePresence(ctx, jidOf("15550002")))
	require.NoError(t, other.Presence(ctx, true))
	require.NoError(t, other.Typing(ctx, "15550001", simulator.Composing))
	_, err := c.IsOnWhatsApp(ctx, []string{"+15550002"}) // an answer: what would have come before it is there
	require.NoError(t, err)
	for _, e := range c.seenEvents() {
		_, presence := e.(*events.Presence)
		_, typing := e.(*events.ChatPresence)
		require.False(t, presence || typing, "it is not available")
	}
	require.NoError(t, c.SendPresence(ctx, types.PresenceAvailable))
	require.False(t, waitEvent(c, simtest.AnyOf[*events.Presence]).Unavailable, "it is told what it missed")

	require.NoError(t, other.SetPrivacy(ctx, "last", "none"))
	c.Forget()
	require.NoError(t, other.Presence(ctx, false))
	hidden := waitEvent(c, simtest.AnyOf[*events.Presence])
	require.True(t, hidden.Unavailable)
	require.Zero(t, hidden.LastSeen)
	require.NoError(t, other.SetPrivacy(ctx, "online", "match_last_seen"))
	c.Forget()
	require.NoError(t, other.Presence(ctx, true))
	require.NoError(t, other.SetPrivacy(ctx, "online", "all"))
	require.NoError(t, other.Presence(ctx, false))
	require.True(t, waitEvent(c, simtest.AnyOf[*events.Presence]).Unavailable, "the one before was not shown")
}

func TestAGroupIsShownWhoTypesInIt(t *testing.T) {
	s := newServer(t, "")
	c, _, owner, other := acquainted(t, s)
	outsider := simtest.AddPhone(t, s, "15550003")
	ctx := simtest.Within(t, 30*time.Second)
	group, err := owner.CreateGroup(ctx, "Typists", "15550002")
	require.NoError(t, err)
	jid, err := types.ParseJID(group)
	require.NoError(t, err)
	require.NoError(t, c.SendPresence(ctx, types.PresenceAvailable))
	require.NoError(t, other.WaitPresence(ctx, "15550001", true))
	require.NoError(t, outsider.Typing(ctx, group, simulator.Composing))
	require.NoError(t, other.Typing(ctx, group, simulator.Recording))
	seen := waitEvent(c, simtest.AnyOf[*events.ChatPresence])
	require.Equal(t, jid, seen.Chat)
	require.Contains(t, []string{other.LID(), "15550002"}, seen.Sender.User)
	require.Equal(t, types.ChatPresenceMediaAudio, seen.Media)
	require.NoError(t, c.SendChatPresence(ctx, jid, types.ChatPresenceComposing, types.ChatPresenceMediaText))
	require.NoError(t, other.WaitTypingIn(ctx, group, "15550001", simulator.Composing))
	require.Empty(t, other.TypingIn(group, "15550003"))
	require.Empty(t, other.TypingOf("15550001"))
}

func TestATokenMakesAContactTrusted(t *testing.T) {
	s := newServer(t, "")
	c, d, _, other := acquainted(t, s)
	c.ErrorOnSubscribePresenceWithoutToken = true
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, c.SendPresence(ctx, types.PresenceAvailable))
	require.ErrorIs(t, c.SubscribePresence(ctx, jidOf("15550002")), whatsmeow.ErrNoPrivacyToken)
	require.NoError(t, other.Trust(ctx, "15550001"))
	require.Eventually(t, func() bool { // there is no event for it
		return c.SubscribePresence(ctx, jidOf("15550002")) == nil
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, d.WaitDrained(ctx))
	require.True(t, waitEvent(c, simtest.AnyOf[*events.Presence]).Unavailable)
	require.ErrorIs(t, other.Trust(ctx, "15559999"), simulator.ErrUnknownNumber)
}
