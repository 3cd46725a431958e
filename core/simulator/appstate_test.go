package simulator_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func jidOf(number string) types.JID { return types.NewJID(number, types.DefaultUserServer) }

func TestANewCompanionLearnsItsNameAndFollowsThePhonesAppState(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, owner.SetContact(ctx, "15550002", "Bea Known Before", "Bea"))
	c, _ := paired(t, s, owner)
	for _, name := range appstate.AllPatchNames {
		waitEvent(c, func(e *events.AppStateSyncComplete) bool { return e.Name == name })
	}
	require.Equal(t, "Name of 15550001", c.Store.PushName)
	known, err := c.Store.Contacts.GetContact(ctx, jidOf("15550002"))
	require.NoError(t, err)
	require.Equal(t, "Bea Known Before", known.FullName)

	chat := jidOf("15550002")
	require.NoError(t, owner.SetContact(ctx, "15550002", "Bea Later", "B"))
	contact := waitEvent(c, simtest.AnyOf[*events.Contact])
	require.Equal(t, chat, contact.JID)
	require.Equal(t, "Bea Later", contact.Action.GetFullName())
	require.Equal(t, s.Phone("15550002").LID()+"@lid", contact.Action.GetLidJID())

	require.NoError(t, owner.Mute(ctx, "15550002", true, time.Hour))
	mute := waitEvent(c, simtest.AnyOf[*events.Mute])
	require.Equal(t, chat, mute.JID)
	require.True(t, mute.Action.GetMuted())
	require.WithinDuration(t, time.Now().Add(time.Hour), time.UnixMilli(mute.Action.GetMuteEndTimestamp()), time.Minute)

	require.NoError(t, owner.Pin(ctx, "15550002", true))
	require.True(t, waitEvent(c, simtest.AnyOf[*events.Pin]).Action.GetPinned())
	require.NoError(t, owner.Archive(ctx, "15550002", true))
	require.True(t, waitEvent(c, simtest.AnyOf[*events.Archive]).Action.GetArchived())
	require.False(t, waitEvent(c, func(e *events.Pin) bool { return !e.Action.GetPinned() }).Action.GetPinned(), "archiving unpins")
	require.NoError(t, owner.MarkRead(ctx, "15550002", false))
	require.False(t, waitEvent(c, simtest.AnyOf[*events.MarkChatAsRead]).Action.GetRead())
	require.NoError(t, owner.Star(ctx, "15550002", "STAR1", false, true))
	star := waitEvent(c, simtest.AnyOf[*events.Star])
	require.Equal(t, "STAR1", star.MessageID)
	require.False(t, star.IsFromMe)
	require.NoError(t, owner.DeleteChat(ctx, "15550002"))
	require.Equal(t, chat, waitEvent(c, simtest.AnyOf[*events.DeleteChat]).JID)
	require.NoError(t, owner.SetPushName(ctx, "Renamed"))
	require.Equal(t, "Renamed", waitEvent(c, simtest.AnyOf[*events.PushNameSetting]).Action.GetName())
	require.Equal(t, "Renamed", owner.Name())

	settings, err := c.Store.ChatSettings.GetChatSettings(ctx, chat)
	require.NoError(t, err)
	require.True(t, settings.Archived)
	require.False(t, settings.Pinned)
	require.False(t, settings.MutedUntil.IsZero())
	require.ErrorIs(t, owner.Mute(ctx, "12", true, 0), simulator.ErrNumber)
	require.ErrorContains(t, owner.EditAppState(ctx, appstate.PatchInfo{Type: "no_such"}), "no_such")
	empty := appstate.PatchInfo{Type: appstate.WAPatchRegular, Mutations: []appstate.MutationInfo{{}}}
	require.ErrorContains(t, owner.EditAppState(ctx, empty), "without index")
}

func TestWhatACompanionSetsReachesThePhoneAndItsOtherCompanion(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	one, _ := paired(t, s, owner)
	two, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	chat := jidOf("15550002")

	require.NoError(t, one.SendAppState(ctx, appstate.BuildMute(chat, true, 0)))
	require.True(t, waitEvent(two, simtest.AnyOf[*events.Mute]).Action.GetMuted())
	require.True(t, owner.ChatSettings("15550002").Muted)
	require.Zero(t, owner.ChatSettings("15550002").MutedUntil, "for good")
	require.NoError(t, two.SendAppState(ctx, appstate.BuildPin(chat, true)))
	waitEvent(one, simtest.AnyOf[*events.Pin])
	require.NoError(t, one.SendAppState(ctx, appstate.BuildStar(chat, chat, "S1", true, true)))
	require.Equal(t, []string{"S1"}, owner.Starred("15550002"))
	require.NoError(t, one.SendAppState(ctx, appstate.BuildMarkChatAsRead(chat, false, time.Now(), nil)))
	require.NoError(t, one.SendAppState(ctx, appstate.BuildSettingPushName("Chosen by a companion")))
	require.NoError(t, owner.WaitAppState(ctx, func() bool { return owner.Name() == "Chosen by a companion" }))
	require.Equal(t, simulator.ChatSettings{Muted: true, Pinned: true, MarkedUnread: true}, owner.ChatSettings("15550002"))
	require.Equal(t, "Chosen by a companion", waitEvent(two, simtest.AnyOf[*events.PushNameSetting]).Action.GetName())
	require.NotNil(t, owner.AppState(appstate.IndexMute, chat.String()).GetMuteAction())
	require.NoError(t, two.SendAppState(ctx, appstate.BuildMute(lidOf(s.Phone("15550002")), false, 0)))
	require.False(t, owner.ChatSettings("15550002").Muted, "the same chat, under its other address")
}

func TestAPatchOnAnOldVersionIsRefusedAndTheClientCatchesUp(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	untold, err := s.AddFault(simulator.Fault{
		Action: simulator.FaultDrop, Direction: simulator.Out, Tag: "notification", Type: "server_sync",
	})
	require.NoError(t, err)
	version := func() uint64 {
		v, _, err := c.Store.AppState.GetAppStateVersion(ctx, string(appstate.WAPatchRegularHigh))
		require.NoError(t, err)
		return v
	}
	before := version()
	require.NoError(t, owner.Mute(ctx, "15550002", true, 0))
	require.NoError(t, owner.Star(ctx, "15550002", "S1", false, true))
	require.Equal(t, before, version())
	err = c.SendAppState(ctx, appstate.BuildMute(jidOf("15550002"), false, 0))
	require.NoError(t, err, "it takes what it missed and tries again")
	require.NoError(t, owner.WaitAppState(ctx, func() bool { return !owner.ChatSettings("15550002").Muted }))
	require.Equal(t, []string{"S1"}, owner.Starred("15550002"))
	waitEvent(c, simtest.AnyOf[*events.Star])
	require.Equal(t, before+3, version())
	untold.Remove()
	d.Cut() // what was lost comes again
	require.NoError(t, d.WaitDrained(ctx))
}

func TestAClientThatMissesAKeyAsksThePhoneForIt(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	c := newClient(t, s)
	c.EmitAppStateEventsOnFullSync = true
	c.pair(owner)
	ctx := simtest.Within(t, 30*time.Second)
	require.NoError(t, owner.RotateAppStateKey(ctx, false))
	require.NoError(t, owner.Mute(ctx, "15550002", true, 0))
	require.Equal(t, jidOf("15550002"), waitEvent(c, simtest.AnyOf[*events.Mute]).JID, "it was handed the key, and decrypted the patch")
	require.NoError(t, c.SendAppState(ctx, appstate.BuildPin(jidOf("15550002"), true)), "and uses it")
	require.True(t, owner.ChatSettings("15550002").Pinned)
	latest := func() []byte {
		id, err := c.Store.AppStateKeys.GetLatestAppStateSyncKeyID(ctx)
		require.NoError(t, err)
		return id
	}
	before := latest()
	require.NoError(t, owner.RotateAppStateKey(ctx, true))
	// A client that gets a key and what it opens at once looks for the key before it stored it,
	// and by the time it wants to ask for the key it has it.
	require.Eventually(t, func() bool { return !bytes.Equal(before, latest()) }, 10*time.Second, time.Millisecond)
	require.NoError(t, owner.Mute(ctx, "15550002", false, 0))
	waitEvent(c, func(e *events.Mute) bool { return !e.Action.GetMuted() })
}

func TestAppStateSurvivesARestartAndALongOneComesAsASnapshotAndInParts(t *testing.T) {
	long(t)
	dir := t.TempDir()
	first, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, first.Start("127.0.0.1:0"))
	owner := simtest.AddPhone(t, first, "15550001")
	ctx := simtest.Within(t, 60*time.Second)
	for i := range 60 { // more than one answer carries
		require.NoError(t, owner.SetContact(ctx, fmt.Sprint(15551000+i), fmt.Sprint("Contact ", i), "c"))
	}
	require.NoError(t, owner.SetContact(ctx, "15551000", "Contact renamed", "c"))
	c, d := paired(t, first, owner)
	contact := func(number string) string {
		got, err := c.Store.Contacts.GetContact(ctx, jidOf(number))
		require.NoError(t, err)
		return got.FullName
	}
	require.Equal(t, "Contact renamed", contact("15551000"), "out of the snapshot")
	require.Equal(t, "Contact 59", contact("15551059"))
	require.NoError(t, c.SendAppState(ctx, appstate.BuildArchive(jidOf("15551000"), true, time.Time{}, nil)))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	c.Forget()
	require.NoError(t, first.Close())

	second := newServer(t, dir)
	owner = second.Phone("15550001")
	require.Len(t, owner.Contacts(), 60)
	require.Equal(t, "Contact renamed", owner.Contacts()[0].FullName)
	require.True(t, owner.ChatSettings("15551000").Archived)
	for i := range 120 {
		require.NoError(t, owner.Mute(ctx, fmt.Sprint(15551000+i), true, 0))
	}
	c.s = second
	c.renew(true)
	require.NoError(t, c.Connect())
	waitEvent(c, func(e *events.Mute) bool { return e.JID.User == "15551119" })
	for _, e := range c.seenEvents() {
		m, ok := e.(*events.Message)
		require.False(t, ok && m.Info.Category == "peer", "a companion is welcomed once")
	}
	require.NoError(t, owner.Mute(ctx, "15551000", false, 0))
	waitEvent(c, func(e *events.Mute) bool { return !e.Action.GetMuted() })
	require.NoError(t, c.FetchAppState(ctx, appstate.WAPatchRegularHigh, true, false), "all of it once more")
	require.NoError(t, second.Device(d.JID().String()).WaitDrained(ctx))
}

func TestAPatchThatDoesNotVerifyIsRefused(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	version, hash, err := c.Store.AppState.GetAppStateVersion(ctx, string(appstate.WAPatchRegularHigh))
	require.NoError(t, err)
	hash[0]++ // a client that lost a mutation
	require.NoError(t, c.Store.AppState.PutAppStateVersion(ctx, string(appstate.WAPatchRegularHigh), version, hash))
	err = c.SendAppState(ctx, appstate.BuildMute(jidOf("15550002"), true, 0))
	require.ErrorIs(t, err, whatsmeow.ErrAppStateUpdate)
	require.ErrorContains(t, err, `code="400"`)
	require.False(t, owner.ChatSettings("15550002").Muted)
	require.NoError(t, c.FetchAppState(ctx, appstate.WAPatchRegularHigh, true, false))
	require.NoError(t, c.SendAppState(ctx, appstate.BuildMute(jidOf("15550002"), true, 0)), "after it began anew")
	require.True(t, owner.ChatSettings("15550002").Muted)
}
