package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func number(n string) types.JID { return types.NewJID(n, types.DefaultUserServer) }

func lid(p *simulator.Phone) types.JID { return types.NewJID(p.LID(), types.HiddenUserServer) }

// groupServer is a server whose clients make groups of one kind of addressing.
func groupServer(t *testing.T, byNumber bool) *simulator.Server {
	t.Helper()
	s, err := simulator.New(simulator.Options{Root: simtest.Root(), GroupsByNumber: byNumber})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Verify(t)
	})
	return s
}

func TestAClientMakesAGroupAndChangesItsMembers(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := groupServer(t, byNumber)
		one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
		a, da := paired(t, s, one)
		b, db := paired(t, s, two)
		ctx := simtest.Within(t, 60*time.Second)
		in := func(p *simulator.Phone) types.JID {
			if byNumber {
				return number(p.Number())
			}
			return lid(p)
		}

		made, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{
			Name: "Cats", Participants: []types.JID{number("15550002"), number("15559999")}, CreateKey: "3EB0ABCDEF",
		})
		require.NoError(t, err)
		require.Equal(t, "Cats", made.Name)
		require.Equal(t, in(one), made.OwnerJID)
		require.Len(t, made.Participants, 3)
		require.True(t, made.Participants[0].IsSuperAdmin)
		require.Equal(t, number("15550002"), made.Participants[1].PhoneNumber)
		require.Equal(t, lid(two), made.Participants[1].LID)
		require.Equal(t, 404, made.Participants[2].Error, "nobody has the number")
		joined := waitEvent(b, simtest.AnyOf[*events.JoinedGroup])
		require.Equal(t, made.JID, joined.JID)
		require.Equal(t, in(one), *joined.Sender)
		require.Equal(t, "ABCDEF", waitEvent(a, simtest.AnyOf[*events.JoinedGroup]).CreateKey)

		added, err := a.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(three), in(two)}, whatsmeow.ParticipantChangeAdd)
		require.NoError(t, err)
		require.Equal(t, []int{0, 409}, []int{added[0].Error, added[1].Error})
		change := waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Join) == 1 })
		require.Equal(t, in(three), change.Join[0])
		require.NotEmpty(t, change.PrevParticipantVersionID)
		require.NotEqual(t, change.PrevParticipantVersionID, change.ParticipantVersionID)
		info, err := b.GetGroupInfo(ctx, made.JID)
		require.NoError(t, err)
		require.Len(t, info.Participants, 3)
		require.Equal(t, change.ParticipantVersionID, info.ParticipantVersionID)

		_, err = b.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(three)}, whatsmeow.ParticipantChangeRemove)
		require.ErrorIs(t, err, whatsmeow.ErrIQForbidden, "it is no admin")
		_, err = a.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(two)}, whatsmeow.ParticipantChangePromote)
		require.NoError(t, err)
		waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Promote) == 1 && g.Promote[0] == in(two) })
		refused, err := b.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(one)}, whatsmeow.ParticipantChangeRemove)
		require.NoError(t, err)
		require.Equal(t, 406, refused[0].Error, "who made the group stays")
		_, err = b.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(three)}, whatsmeow.ParticipantChangeRemove)
		require.NoError(t, err)
		waitEvent(a, func(g *events.GroupInfo) bool {
			return len(g.Leave) == 1 && g.Leave[0] == in(three) && *g.Sender == in(two)
		})
		_, err = a.UpdateGroupParticipants(ctx, made.JID, []types.JID{in(two)}, whatsmeow.ParticipantChangeDemote)
		require.NoError(t, err)
		waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Demote) == 1 })
		_, err = three.SendText(ctx, made.JID.String(), "let me in")
		require.ErrorIs(t, err, simulator.ErrNotMember)

		list, err := b.GetJoinedGroups(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NoError(t, a.LeaveGroup(ctx, made.JID))
		waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Leave) == 1 && g.Leave[0] == in(one) })
		waitEvent(b, func(g *events.GroupInfo) bool { return len(g.Promote) == 1 && *g.Sender == in(one) })
		_, err = a.GetGroupInfo(ctx, made.JID)
		require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
		require.ErrorIs(t, a.SetGroupName(ctx, made.JID, "Dogs"), whatsmeow.ErrIQNotAuthorized)
		_, err = a.GetGroupInfo(ctx, types.NewJID("120363000000000000", types.GroupServer))
		require.ErrorIs(t, err, whatsmeow.ErrGroupNotFound)
		list, err = a.GetJoinedGroups(ctx)
		require.NoError(t, err)
		require.Empty(t, list)
		group, err := s.Group(made.JID.String())
		require.NoError(t, err)
		require.Equal(t, []simulator.Member{{Number: "15550002", Admin: true}}, group.Members, "the last one is an admin now")
		for _, d := range []*simulator.Device{da, db} {
			require.NoError(t, d.WaitDrained(ctx))
		}
	})
}

func TestTheSettingsOfAGroup(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	made, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: "Cats", Participants: []types.JID{number("15550002")}})
	require.NoError(t, err)
	group := made.JID
	info := func() *types.GroupInfo {
		out, err := b.GetGroupInfo(ctx, group)
		require.NoError(t, err)
		return out
	}

	require.NoError(t, b.SetGroupName(ctx, group, "Dogs"))
	renamed := waitEvent(a, func(g *events.GroupInfo) bool { return g.Name != nil })
	require.Equal(t, "Dogs", renamed.Name.Name)
	require.Equal(t, lid(two), renamed.Name.NameSetBy)
	require.Equal(t, number("15550002"), renamed.Name.NameSetByPN)
	require.Equal(t, "Dogs", info().Name)
	require.ErrorIs(t, a.SetGroupName(ctx, group, ""), whatsmeow.ErrIQNotAcceptable)

	require.NoError(t, a.SetGroupTopic(ctx, group, "", "first", "all about dogs"))
	require.Equal(t, "all about dogs", waitEvent(b, func(g *events.GroupInfo) bool { return g.Topic != nil }).Topic.Topic)
	require.Equal(t, "first", info().TopicID)
	require.Equal(t, lid(one), info().TopicSetBy)
	require.ErrorIs(t, a.SetGroupTopic(ctx, group, "an older one", "second", "no"), &whatsmeow.IQError{Code: 409, Text: "conflict"})
	require.NoError(t, a.SetGroupTopic(ctx, group, "", "second", ""))
	require.True(t, waitEvent(b, func(g *events.GroupInfo) bool { return g.Topic != nil && g.Topic.TopicDeleted }).Topic.TopicDeleted)
	require.NoError(t, b.SetGroupDescription(ctx, group, "described"))
	require.Equal(t, "described", info().Topic)

	require.NoError(t, a.SetDisappearingTimer(ctx, group, 24*time.Hour, time.Time{}))
	require.Equal(t, uint32(86400), waitEvent(b, func(g *events.GroupInfo) bool { return g.Ephemeral != nil }).Ephemeral.DisappearingTimer)
	require.True(t, info().IsEphemeral)
	require.ErrorIs(t, a.SetDisappearingTimer(ctx, group, time.Hour, time.Time{}), whatsmeow.ErrInvalidDisappearingTimer)
	_, err = two.SendText(ctx, group.String(), "will go")
	require.NoError(t, err)
	require.Equal(t, uint32(86400), a.text(group.String(), "will go").Message.GetExtendedTextMessage().GetContextInfo().GetExpiration())
	require.NoError(t, two.SetDisappearing(ctx, group.String(), 0))
	waitEvent(b, func(g *events.GroupInfo) bool { return g.Ephemeral != nil && !g.Ephemeral.IsEphemeral })
	require.False(t, info().IsEphemeral)

	require.ErrorIs(t, b.SetGroupLocked(ctx, group, true), whatsmeow.ErrIQForbidden)
	require.NoError(t, a.SetGroupLocked(ctx, group, true))
	waitEvent(b, func(g *events.GroupInfo) bool { return g.Locked != nil && g.Locked.IsLocked })
	require.True(t, info().IsLocked)
	require.ErrorIs(t, b.SetGroupName(ctx, group, "Birds"), whatsmeow.ErrIQForbidden)
	require.ErrorIs(t, two.SetSubject(ctx, group.String(), "Birds"), simulator.ErrNotAdmin)
	require.NoError(t, one.SetSubject(ctx, group.String(), "Birds"))
	require.NoError(t, one.SetLocked(ctx, group.String(), false))
	require.False(t, info().IsLocked)

	require.NoError(t, a.SetGroupAnnounce(ctx, group, true))
	require.NotEmpty(t, waitEvent(b, func(g *events.GroupInfo) bool { return g.Announce != nil && g.Announce.IsAnnounce }).Announce.AnnounceVersionID)
	require.True(t, info().IsAnnounce)
	_, err = two.SendText(ctx, group.String(), "may I?")
	require.ErrorIs(t, err, simulator.ErrNotAdmin)
	_, err = b.SendMessage(ctx, group, b.BuildReaction(group, lid(one), "x", "👍"))
	require.NoError(t, err, "everybody may react")
	_, err = b.SendMessage(ctx, group, b.BuildRevoke(group, lid(one), "x"))
	require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)
	require.ErrorContains(t, err, "403")
	require.NoError(t, one.SetAnnounce(ctx, group.String(), false))

	require.Equal(t, types.GroupMemberAddModeAllMember, info().MemberAddMode)
	require.NoError(t, a.SetGroupMemberAddMode(ctx, group, types.GroupMemberAddModeAdmin))
	require.Equal(t, types.GroupMemberAddModeAdmin, info().MemberAddMode)
	simtest.AddPhone(t, s, "15550003")
	_, err = b.UpdateGroupParticipants(ctx, group, []types.JID{number("15550003")}, whatsmeow.ParticipantChangeAdd)
	require.ErrorIs(t, err, whatsmeow.ErrIQForbidden)
	require.NoError(t, one.SetOnlyAdminsAdd(ctx, group.String(), false))
	_, err = b.UpdateGroupParticipants(ctx, group, []types.JID{number("15550003")}, whatsmeow.ParticipantChangeAdd)
	require.NoError(t, err)
}

func TestInvitesToAGroup(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two, three := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002"), simtest.AddPhone(t, s, "15550003")
	a, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	group, err := three.CreateGroup(ctx, "Cats", "15550001")
	require.NoError(t, err)
	jid := groupJID(t, group)

	_, err = a.GetGroupInviteLink(ctx, jid, false)
	require.ErrorIs(t, err, whatsmeow.ErrGroupInviteLinkUnauthorized)
	_, err = b.GetGroupInviteLink(ctx, jid, false)
	require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
	require.NoError(t, three.GroupPromote(ctx, group, "15550001"))
	link, err := a.GetGroupInviteLink(ctx, jid, false)
	require.NoError(t, err)
	seen, err := b.GetGroupInfoFromLink(ctx, link)
	require.NoError(t, err)
	require.Equal(t, "Cats", seen.Name)
	require.Equal(t, 2, seen.ParticipantCount)
	got, err := b.JoinGroupWithLink(ctx, link)
	require.NoError(t, err)
	require.Equal(t, jid, got)
	require.Equal(t, "invite", waitEvent(b, simtest.AnyOf[*events.JoinedGroup]).Reason)
	require.Equal(t, "invite", waitEvent(a, func(g *events.GroupInfo) bool { return len(g.Join) == 1 }).JoinReason)

	fresh, err := a.GetGroupInviteLink(ctx, jid, true)
	require.NoError(t, err)
	require.NotEqual(t, link, fresh)
	require.Equal(t, fresh, *waitEvent(b, func(g *events.GroupInfo) bool { return g.NewInviteLink != nil }).NewInviteLink)
	_, err = b.GetGroupInfoFromLink(ctx, link)
	require.ErrorIs(t, err, whatsmeow.ErrInviteLinkRevoked)
	_, err = b.JoinGroupWithLink(ctx, "nonsense")
	require.ErrorIs(t, err, whatsmeow.ErrInviteLinkInvalid)

	// An admin decides on who asks to join.
	require.NoError(t, b.LeaveGroup(ctx, jid))
	require.NoError(t, a.SetGroupJoinApprovalMode(ctx, jid, true))
	waitEvent(a, func(g *events.GroupInfo) bool { return g.MembershipApprovalMode != nil })
	b.Forget()
	_, err = b.JoinGroupWithLink(ctx, fresh)
	require.NoError(t, err)
	asking, err := a.GetGroupRequestParticipants(ctx, jid)
	require.NoError(t, err)
	require.Len(t, asking, 1)
	require.Equal(t, lid(two), asking[0].JID)
	require.False(t, asking[0].RequestedAt.IsZero())
	_, err = b.GetGroupInfo(ctx, jid)
	require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
	decided, err := a.UpdateGroupRequestParticipants(ctx, jid, []types.JID{lid(two)}, whatsmeow.ParticipantChangeReject)
	require.NoError(t, err)
	require.Zero(t, decided[0].Error)
	decided, err = a.UpdateGroupRequestParticipants(ctx, jid, []types.JID{lid(two)}, whatsmeow.ParticipantChangeApprove)
	require.NoError(t, err)
	require.Equal(t, 404, decided[0].Error, "it does not ask any more")
	_, asked, err := two.Join(ctx, fresh)
	require.NoError(t, err)
	require.True(t, asked)
	require.NoError(t, three.Decide(ctx, group, true, "15550002"))
	require.Equal(t, jid, waitEvent(b, simtest.AnyOf[*events.JoinedGroup]).JID)

	// An invitation of one number.
	require.NoError(t, two.Leave(ctx, group))
	invite, err := three.Invite(ctx, group, "15550002")
	require.NoError(t, err)
	b.Forget()
	seen, err = b.GetGroupInfoFromInvite(ctx, jid, lid(three), invite.GetInviteCode(), invite.GetInviteExpiration())
	require.NoError(t, err)
	require.Equal(t, "Cats", seen.Name)
	require.NoError(t, b.JoinGroupWithInvite(ctx, jid, lid(three), invite.GetInviteCode(), invite.GetInviteExpiration()))
	waitEvent(b, simtest.AnyOf[*events.JoinedGroup])
	require.NoError(t, two.Leave(ctx, group))
	require.ErrorIs(t, b.JoinGroupWithInvite(ctx, jid, lid(three), invite.GetInviteCode(), invite.GetInviteExpiration()),
		whatsmeow.ErrIQNotAcceptable, "an invitation is good once")
}

func TestACommunityAndItsGroups(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	made, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: "Animals", GroupParent: types.GroupParent{IsParent: true}})
	require.NoError(t, err)
	require.True(t, made.IsParent)
	subs, err := a.GetSubGroups(ctx, made.JID)
	require.NoError(t, err)
	require.Len(t, subs, 1)
	require.True(t, subs[0].IsDefaultSubGroup)
	announcements, err := a.GetGroupInfo(ctx, subs[0].JID)
	require.NoError(t, err)
	require.True(t, announcements.IsAnnounce)
	require.Equal(t, made.JID, announcements.LinkedParentJID)

	cats, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{Name: "Cats", Participants: []types.JID{number("15550002")}})
	require.NoError(t, err)
	require.NoError(t, a.LinkGroup(ctx, made.JID, cats.JID))
	waitEvent(a, func(g *events.GroupInfo) bool {
		return g.JID == made.JID && g.Link != nil && g.Link.Type == types.GroupLinkChangeTypeSub && g.Link.Group.JID == cats.JID
	})
	waitEvent(b, func(g *events.GroupInfo) bool {
		return g.JID == cats.JID && g.Link != nil && g.Link.Type == types.GroupLinkChangeTypeParent && g.Link.Group.JID == made.JID
	})
	waitEvent(b, func(g *events.JoinedGroup) bool { return g.JID == made.JID })
	everybody, err := b.GetLinkedGroupsParticipants(ctx, made.JID)
	require.NoError(t, err)
	require.ElementsMatch(t, []types.JID{lid(one), lid(two)}, everybody)
	require.ErrorIs(t, b.UnlinkGroup(ctx, made.JID, cats.JID), whatsmeow.ErrIQForbidden)
	require.NoError(t, a.UnlinkGroup(ctx, made.JID, cats.JID))
	unlinked := waitEvent(b, func(g *events.GroupInfo) bool { return g.JID == cats.JID && g.Unlink != nil })
	require.Equal(t, types.GroupUnlinkReasonDefault, unlinked.Unlink.UnlinkReason)

	dogs, err := a.CreateGroup(ctx, whatsmeow.ReqCreateGroup{
		Name: "Dogs", GroupLinkedParent: types.GroupLinkedParent{LinkedParentJID: made.JID},
		GroupAnnounce: types.GroupAnnounce{IsAnnounce: true}, GroupLocked: types.GroupLocked{IsLocked: true},
		GroupEphemeral:              types.GroupEphemeral{IsEphemeral: true, DisappearingTimer: 86400},
		GroupMembershipApprovalMode: types.GroupMembershipApprovalMode{IsJoinApprovalRequired: true},
	})
	require.NoError(t, err)
	require.Equal(t, made.JID, dogs.LinkedParentJID)
	require.True(t, dogs.IsAnnounce && dogs.IsLocked && dogs.IsJoinApprovalRequired)
	require.Equal(t, uint32(86400), dogs.DisappearingTimer)
	subs, err = a.GetSubGroups(ctx, made.JID)
	require.NoError(t, err)
	require.Len(t, subs, 2)
}

func TestThePictureOfAGroup(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	group, err := one.CreateGroup(ctx, "Cats")
	require.NoError(t, err)
	jid := groupJID(t, group)
	_, err = a.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureNotSet)
	raw := photo(t, 20, 20)
	id, err := a.SetGroupPhoto(ctx, jid, raw)
	require.NoError(t, err)
	set := waitEvent(a, func(p *events.Picture) bool { return p.JID == jid })
	require.Equal(t, id, set.PictureID)
	require.Equal(t, lid(one), set.Author)
	info, err := a.GetProfilePictureInfo(ctx, jid, nil)
	require.NoError(t, err)
	require.Equal(t, id, info.ID)
	require.Equal(t, raw, s.GroupPicture(group))
	_, err = b.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureUnauthorized)
	link, err := one.InviteLink(ctx, group, false)
	require.NoError(t, err)
	_, err = b.GetProfilePictureInfo(ctx, jid, &whatsmeow.GetProfilePictureParams{
		InviteCode: strings.TrimPrefix(link, whatsmeow.InviteLinkPrefix), Preview: true,
	})
	require.NoError(t, err)
	_, err = a.SetGroupPhoto(ctx, jid, []byte("no picture"))
	require.ErrorIs(t, err, whatsmeow.ErrInvalidImageFormat)
	_, err = two.SetGroupPicture(ctx, group, raw)
	require.ErrorIs(t, err, simulator.ErrNotMember)
	_, err = a.SetGroupPhoto(ctx, jid, nil)
	require.NoError(t, err)
	waitEvent(a, func(p *events.Picture) bool { return p.JID == jid && p.Remove })
	require.Nil(t, s.GroupPicture(group))

	community, err := one.NewGroup(ctx, simulator.GroupOptions{Subject: "Animals", Community: true})
	require.NoError(t, err)
	id, err = one.SetGroupPicture(ctx, community, raw)
	require.NoError(t, err)
	info, err = a.GetProfilePictureInfo(ctx, groupJID(t, community), &whatsmeow.GetProfilePictureParams{IsCommunity: true})
	require.NoError(t, err)
	require.Equal(t, id, info.ID)
}

func TestWhoWantsNotToBeAddedIsInvited(t *testing.T) {
	long(t)
	s := newServer(t, "")
	one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	a, _ := paired(t, s, one)
	b, _ := paired(t, s, two)
	ctx := simtest.Within(t, 60*time.Second)
	require.NoError(t, two.SetPrivacy(ctx, "groupadd", "none"))
	group, err := one.CreateGroup(ctx, "Cats")
	require.NoError(t, err)
	jid := groupJID(t, group)
	require.Error(t, one.GroupAdd(ctx, group, "15550002"))
	added, err := a.UpdateGroupParticipants(ctx, jid, []types.JID{lid(two)}, whatsmeow.ParticipantChangeAdd)
	require.NoError(t, err)
	require.Equal(t, 403, added[0].Error)
	require.NotNil(t, added[0].AddRequest)
	_, err = b.GetGroupInfo(ctx, jid)
	require.ErrorIs(t, err, whatsmeow.ErrNotInGroup)
	require.NoError(t, b.JoinGroupWithInvite(ctx, jid, lid(one), added[0].AddRequest.Code, added[0].AddRequest.Expiration.Unix()))
	info, err := b.GetGroupInfo(ctx, jid)
	require.NoError(t, err)
	require.Len(t, info.Participants, 2)
}
