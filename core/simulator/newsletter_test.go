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

func TestANewsletterFromItsCreationToItsReaders(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a, da := paired(t, s, one)
	b, db := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)

	require.NoError(t, a.AcceptTOSNotice(ctx, "20601218", "5"))
	made, err := a.CreateNewsletter(ctx, whatsmeow.CreateNewsletterParams{Name: "News", Description: "of cats"})
	require.NoError(t, err)
	require.Equal(t, "News", made.ThreadMeta.Name.Text)
	require.Equal(t, "of cats", made.ThreadMeta.Description.Text)
	require.Equal(t, types.NewsletterRoleOwner, made.ViewerMeta.Role)
	require.Equal(t, types.NewsletterStateActive, made.State.Type)
	require.Equal(t, made.ID, waitEvent(a, simtest.AnyOf[*events.NewsletterJoin]).ID)

	found, err := b.GetNewsletterInfoWithInvite(ctx, whatsmeow.NewsletterLinkPrefix+made.ThreadMeta.InviteCode)
	require.NoError(t, err)
	require.Equal(t, made.ID, found.ID)
	require.Nil(t, found.ViewerMeta)
	_, err = b.GetNewsletterInfoWithInvite(ctx, "nonsense")
	require.ErrorContains(t, err, "404")
	require.NoError(t, b.FollowNewsletter(ctx, made.ID))
	require.Equal(t, types.NewsletterRoleSubscriber, waitEvent(b, simtest.AnyOf[*events.NewsletterJoin]).ViewerMeta.Role)
	require.NoError(t, b.NewsletterToggleMute(ctx, made.ID, true))
	require.Equal(t, types.NewsletterMuteOn, waitEvent(b, simtest.AnyOf[*events.NewsletterMuteChange]).Mute)
	list, err := b.GetSubscribedNewsletters(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, 2, list[0].ThreadMeta.SubscriberCount)
	require.Equal(t, types.NewsletterMuteOn, list[0].ViewerMeta.Mute)
	require.NoError(t, b.NewsletterToggleMute(ctx, made.ID, false))
	info, err := b.GetNewsletterInfo(ctx, made.ID)
	require.NoError(t, err)
	require.Equal(t, types.NewsletterMuteOff, info.ViewerMeta.Mute)

	resp, err := a.SendMessage(ctx, made.ID, &waE2E.Message{Conversation: proto.String("a cat was born")})
	require.NoError(t, err)
	require.Equal(t, 1, resp.ServerID)
	got := b.text(made.ID.String(), "a cat was born")
	require.Equal(t, resp.ID, got.Info.ID)
	require.Equal(t, 1, got.Info.ServerID)
	shows(t, two, made.ID.String(), "a cat was born")
	_, err = b.SendMessage(ctx, made.ID, &waE2E.Message{Conversation: proto.String("me too")})
	require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)

	d, err := a.NewsletterSubscribeLiveUpdates(ctx, made.ID)
	require.NoError(t, err)
	require.Greater(t, d, time.Minute)
	require.NoError(t, b.NewsletterMarkViewed(ctx, made.ID, []types.MessageServerID{1}))
	viewed := waitEvent(a, simtest.AnyOf[*events.NewsletterLiveUpdate])
	require.Equal(t, 1, viewed.Messages[0].ViewsCount)
	require.NoError(t, b.NewsletterSendReaction(ctx, made.ID, 1, "👍", ""))
	waitEvent(a, func(u *events.NewsletterLiveUpdate) bool { return u.Messages[0].ReactionCounts["👍"] == 1 })
	updates, err := a.GetNewsletterMessageUpdates(ctx, made.ID, &whatsmeow.GetNewsletterUpdatesParams{Count: 10})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"👍": 1}, updates[0].ReactionCounts)
	require.NoError(t, b.NewsletterSendReaction(ctx, made.ID, 1, "", ""))
	waitEvent(a, func(u *events.NewsletterLiveUpdate) bool {
		return u.Messages[0].ViewsCount == 1 && len(u.Messages[0].ReactionCounts) == 0 && u != viewed
	})

	_, err = a.SendMessage(ctx, made.ID, a.BuildEdit(made.ID, resp.ID, &waE2E.Message{Conversation: proto.String("two cats were born")}))
	require.NoError(t, err)
	edited := waitEvent(b, func(m *events.Message) bool { return m.Info.Edit == types.EditAttributeAdminEdit })
	require.Equal(t, "two cats were born", edited.Message.GetConversation())
	require.False(t, edited.NewsletterMeta.OriginalTS.IsZero())
	require.Eventually(t, func() bool {
		m, _ := two.Message(made.ID.String(), resp.ID)
		return m.Edited && m.Text == "two cats were born"
	}, 20*time.Second, 5*time.Millisecond)

	// The owner's phone writes; what it wrote can be listed.
	id, err := one.SendText(ctx, made.ID.String(), "from the phone")
	require.NoError(t, err)
	b.text(made.ID.String(), "from the phone")
	a.text(made.ID.String(), "from the phone")
	shows(t, one, made.ID.String(), "from the phone")
	_, err = two.React(ctx, made.ID.String(), id, "🐈")
	require.NoError(t, err)
	_, err = two.SendText(ctx, made.ID.String(), "me too")
	require.ErrorIs(t, err, simulator.ErrNotAdmin)
	page, err := b.GetNewsletterMessages(ctx, made.ID, &whatsmeow.GetNewsletterMessagesParams{Count: 1, Before: 3})
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, 2, page[0].MessageServerID)
	require.Equal(t, "from the phone", page[0].Message.GetConversation())
	require.Equal(t, map[string]int{"🐈": 1}, page[0].ReactionCounts)
	_, err = one.Revoke(ctx, made.ID.String(), id)
	require.NoError(t, err)
	waitEvent(b, func(m *events.Message) bool { return m.Info.ID == id && m.Info.Edit == types.EditAttributeAdminRevoke })
	require.Eventually(t, func() bool {
		m, _ := two.Message(made.ID.String(), id)
		return m.Revoked
	}, 20*time.Second, 5*time.Millisecond)

	require.NoError(t, b.UnfollowNewsletter(ctx, made.ID))
	require.Equal(t, made.ID, waitEvent(b, simtest.AnyOf[*events.NewsletterLeave]).ID)
	require.Error(t, a.UnfollowNewsletter(ctx, made.ID), "the owner stays")
	require.NoError(t, two.Follow(ctx, made.ID.String(), true))
	for _, d := range []*simulator.Device{da, db} {
		require.NoError(t, d.WaitDrained(ctx))
	}
	want, err := s.Newsletter(made.ID.String())
	require.NoError(t, err)
	require.Equal(t, []string{"15550001", "15550002"}, want.Followers)
	require.Equal(t, "15550001", want.Owner)
	require.NoError(t, s.Close())
	s.Verify(t)

	again := newServer(t, dir)
	kept, err := again.Newsletter(made.ID.String())
	require.NoError(t, err)
	require.Equal(t, want, kept)
	_, err = again.Phone("15550001").SendText(ctx, made.ID.String(), "after it")
	require.NoError(t, err)
	require.Len(t, again.Newsletters()[0].Messages, 3)
	shows(t, again.Phone("15550002"), made.ID.String(), "after it")
}
