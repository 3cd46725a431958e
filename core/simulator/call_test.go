package simulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAClientSeesACallAndRejectsIt(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	other, _ := paired(t, s, owner)
	far, _ := paired(t, s, stranger)
	ctx := simtest.Within(t, 60*time.Second)

	id, err := stranger.Call(ctx, "15550001", true)
	require.NoError(t, err)
	offer := waitEvent(c, simtest.AnyOf[*events.CallOffer])
	require.Equal(t, id, offer.CallID)
	require.Equal(t, types.NewJID(stranger.LID(), types.HiddenUserServer), offer.CallCreator)
	require.Equal(t, types.NewJID("15550002", types.DefaultUserServer), offer.CallCreatorAlt)
	require.Equal(t, "android", offer.RemotePlatform)
	_, video := offer.Data.GetOptionalChildByTag("video")
	require.True(t, video)
	require.Equal(t, id, waitEvent(c, simtest.AnyOf[*events.CallRelayLatency]).CallID)
	ringing, err := owner.WaitCall(ctx, func(call simulator.Call) bool { return call.State == simulator.CallRinging })
	require.NoError(t, err)
	require.Equal(t, "15550002", ringing.From)

	require.NoError(t, c.RejectCall(ctx, offer.CallCreator, id))
	for _, p := range []*simulator.Phone{owner, stranger} {
		call, err := p.WaitCall(ctx, func(call simulator.Call) bool { return call.State == simulator.CallRejected })
		require.NoError(t, err)
		require.Equal(t, id, call.ID)
	}
	require.Equal(t, "rejected_elsewhere", waitEvent(other, simtest.AnyOf[*events.CallTerminate]).Reason)
	require.Equal(t, id, waitEvent(far, simtest.AnyOf[*events.CallReject]).CallID)
	require.ErrorIs(t, stranger.EndCall(ctx, id, ""), simulator.ErrUnknownCall)
	require.NoError(t, d.WaitDrained(ctx), "each event is acknowledged")
}

func TestACallEndsOrIsAnswered(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	missed, err := stranger.Call(ctx, "15550001", false)
	require.NoError(t, err)
	require.NoError(t, stranger.EndCall(ctx, missed, "timeout"))
	end := waitEvent(c, simtest.AnyOf[*events.CallTerminate])
	require.Equal(t, missed, end.CallID)
	require.Equal(t, "timeout", end.Reason)
	require.Equal(t, simulator.CallEnded, owner.Calls()[0].State)

	answered, err := stranger.Call(ctx, "15550001", false)
	require.NoError(t, err)
	require.NoError(t, owner.AnswerCall(ctx, answered))
	waitEvent(c, func(e *events.CallTerminate) bool { return e.CallID == answered && e.Reason == "accepted_elsewhere" })
	require.Equal(t, simulator.CallAccepted, stranger.Calls()[1].State)
	require.NoError(t, owner.EndCall(ctx, answered, ""))
	require.Equal(t, simulator.CallEnded, stranger.Calls()[1].State)

	// The client's own phone calls, and the other end answers.
	own, err := owner.Call(ctx, "15550002", true)
	require.NoError(t, err)
	require.NoError(t, stranger.AnswerCall(ctx, own))
	waitEvent(c, func(e *events.CallPreAccept) bool { return e.CallID == own })
	waitEvent(c, func(e *events.CallAccept) bool { return e.CallID == own })
	waitEvent(c, func(e *events.CallTransport) bool { return e.CallID == own })
	require.NoError(t, d.WaitDrained(ctx))
	_, err = owner.Call(ctx, "15550009", false)
	require.ErrorIs(t, err, simulator.ErrUnknownNumber)
}

func TestACallToAGroupIsANoticeToItsMembers(t *testing.T) {
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	third := simtest.AddPhone(t, s, "15550003")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	group, err := stranger.CreateGroup(ctx, "Cats", "15550001", "15550003")
	require.NoError(t, err)
	id, err := stranger.Call(ctx, group, true)
	require.NoError(t, err)
	notice := waitEvent(c, simtest.AnyOf[*events.CallOfferNotice])
	require.Equal(t, group, notice.GroupJID.String())
	require.Equal(t, "video", notice.Media)
	require.Equal(t, "group", notice.Type)
	require.NoError(t, third.RejectCall(ctx, id))
	require.Equal(t, simulator.CallRinging, stranger.Calls()[0].State, "the others may still answer")
	require.Equal(t, simulator.CallRinging, owner.Calls()[0].State)
	require.NoError(t, stranger.EndCall(ctx, id, ""))
	require.Equal(t, group, waitEvent(c, simtest.AnyOf[*events.CallTerminate]).GroupJID.String())
	require.NoError(t, d.WaitDrained(ctx))
}
