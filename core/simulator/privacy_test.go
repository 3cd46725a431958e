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

func TestPrivacyIsSetOnOneDeviceAndKnownOnAll(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	one, _ := paired(t, s, owner)
	two, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	require.Equal(t, types.PrivacySettingAll, two.GetPrivacySettings(ctx).LastSeen)
	_, err := one.SetPrivacySetting(ctx, types.PrivacySettingTypeLastSeen, types.PrivacySettingContacts)
	require.NoError(t, err)
	told := waitEvent(two, simtest.AnyOf[*events.PrivacySettings])
	require.True(t, told.LastSeenChanged)
	require.False(t, told.OnlineChanged)
	require.Equal(t, types.PrivacySettingContacts, two.GetPrivacySettings(ctx).LastSeen)
	require.Equal(t, "contacts", owner.Privacy()["last"])
	require.NoError(t, owner.SetPrivacy(ctx, "online", "match_last_seen"))
	waitEvent(one, func(e *events.PrivacySettings) bool { return e.OnlineChanged })
	fresh, err := one.TryFetchPrivacySettings(ctx, true)
	require.NoError(t, err)
	require.Equal(t, types.PrivacySettings{
		GroupAdd: "all", LastSeen: "contacts", Status: "all", Profile: "all", ReadReceipts: "all", CallAdd: "all", Online: "match_last_seen",
	}, *fresh)
	_, err = one.SetPrivacySetting(ctx, types.PrivacySettingTypeOnline, types.PrivacySettingNone)
	require.ErrorIs(t, err, whatsmeow.ErrIQBadRequest)
	require.ErrorIs(t, owner.SetPrivacy(ctx, "no such", "all"), simulator.ErrPrivacy)
	require.NoError(t, one.SetDefaultDisappearingTimer(ctx, 24*time.Hour))
	require.Equal(t, 24*time.Hour, owner.DefaultTimer())
	require.NoError(t, one.SetStatusMessage(ctx, "set by a companion"))
	require.Equal(t, "set by a companion", owner.About())
	require.NoError(t, owner.SetPrivacy(ctx, "status", "none"))
	stranger := simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, stranger)
	info, err := c.GetUserInfo(ctx, []types.JID{jidOf("15550001")})
	require.NoError(t, err)
	require.Empty(t, info[jidOf("15550001")].Status)
}

func TestNothingArrivesFromABlockedNumber(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, pest := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	two, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	list, err := c.UpdateBlocklist(ctx, jidOf("15550002"), events.BlocklistChangeActionBlock)
	require.NoError(t, err)
	require.Equal(t, []types.JID{jidOf("15550002")}, list.JIDs)
	told := waitEvent(two, simtest.AnyOf[*events.Blocklist])
	require.Equal(t, []events.BlocklistChange{{JID: jidOf("15550002"), Action: events.BlocklistChangeActionBlock}}, told.Changes)
	require.Equal(t, list.DHash, told.DHash)
	require.Equal(t, []string{"15550002"}, owner.Blocked())
	same, err := two.GetBlocklist(ctx)
	require.NoError(t, err)
	require.Equal(t, list, same)

	_, err = pest.SendText(ctx, "15550001", "from the phone")
	require.NoError(t, err, "who is blocked is not told")
	p, _ := paired(t, s, pest)
	p.send("15550001", "from a companion")
	require.NoError(t, pest.Typing(ctx, "15550001", simulator.Composing))
	_, err = two.UpdateBlocklist(ctx, types.NewJID(pest.LID(), types.HiddenUserServer), events.BlocklistChangeActionUnblock)
	require.NoError(t, err)
	require.Empty(t, owner.Blocked())
	waitEvent(c, func(e *events.Blocklist) bool { return e.Changes[0].Action == events.BlocklistChangeActionUnblock })
	_, err = pest.SendText(ctx, "15550001", "sorry")
	require.NoError(t, err)
	require.Equal(t, []string{"sorry"}, c.waitTexts(1))
	received, err := owner.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "sorry", received[0].Text)
	require.Empty(t, owner.TypingOf("15550002"))
	two.Forget()
	require.NoError(t, owner.Block(ctx, "15550002"))
	require.Equal(t, events.BlocklistChangeActionBlock, waitEvent(two, simtest.AnyOf[*events.Blocklist]).Changes[0].Action)
}

func TestWhatANumberAllowsSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	first, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	owner := simtest.AddPhone(t, first, "15550001")
	simtest.AddPhone(t, first, "15550002")
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, owner.SetPrivacy(ctx, "last", "none"))
	require.NoError(t, owner.Block(ctx, "15550002"))
	require.NoError(t, owner.Block(ctx, "15559999"))
	require.NoError(t, owner.SetDefaultTimer(ctx, time.Hour))
	require.NoError(t, owner.Presence(ctx, true))
	require.NoError(t, owner.Presence(ctx, false))
	code, err := owner.ContactLink(ctx, false)
	require.NoError(t, err)
	privacy, blocked := owner.Privacy(), owner.Blocked()
	_, seen := owner.PresenceOf("15550001")
	require.NotZero(t, seen)
	require.NoError(t, first.Close())

	second := newServer(t, dir)
	owner = second.Phone("15550001")
	require.Equal(t, privacy, owner.Privacy())
	require.Equal(t, []string{"15550002", "15559999"}, blocked)
	require.Equal(t, blocked, owner.Blocked())
	require.Equal(t, time.Hour, owner.DefaultTimer())
	_, still := owner.PresenceOf("15550001")
	require.Equal(t, seen, still)
	again, err := owner.ContactLink(ctx, false)
	require.NoError(t, err)
	require.Equal(t, code, again)
	_, err = second.Phone("15550002").SendText(ctx, "15550001", "in vain")
	require.NoError(t, err)
	require.NoError(t, owner.Unblock(ctx, "15550002"))
	_, err = second.Phone("15550002").SendText(ctx, "15550001", "heard")
	require.NoError(t, err)
	list, err := owner.WaitReceived(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "heard", list[0].Text)
}
