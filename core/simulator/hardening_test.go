package simulator_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAPhoneSurvivesWhatNoClientShouldSend(t *testing.T) {
	_, c, owner, friend := world(t, "")
	ctx := simtest.Within(t, time.Minute)
	poll, err := friend.SendPoll(ctx, hubNumber, "?", []string{"a", "b"}, 1, simulator.SendOptions{})
	require.NoError(t, err)
	c.got(poll)
	chat := pn(friendNumber)
	c.sendMessage(chat, &waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{
		PollCreationMessageKey: &waCommon.MessageKey{RemoteJID: proto.String(chat.String()), FromMe: proto.Bool(false), ID: &poll},
		Vote:                   &waE2E.PollEncValue{EncIV: []byte{1}, EncPayload: []byte{2}},
	}})
	info := c.got(poll).Info
	_, err = c.SendMessage(ctx, pn(hubNumber), c.BuildHistorySyncRequest(&info, -1), whatsmeow.SendRequestExtra{Peer: true})
	require.NoError(t, err)
	id := c.send(friendNumber, "still there")
	waitShown(t, friend, byID(id))
	waitShown(t, owner, byID(id))
	m, _ := friend.Message(hubNumber, poll)
	require.Empty(t, m.Poll.Votes)
}

func TestWhatAPhoneCannotSendIsRefused(t *testing.T) {
	s := newServer(t, "")
	a := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	ctx := simtest.Within(t, time.Minute)
	_, err := a.Send(ctx, "15550002", nil, simulator.SendOptions{})
	require.ErrorIs(t, err, simulator.ErrMessage)
	_, err = a.SendText(ctx, "15550002", strings.Repeat("x", 5<<20))
	require.ErrorIs(t, err, simulator.ErrMessage)
	_, err = a.SendText(ctx, "15550002", "x", simulator.SendOptions{ID: "order/1"})
	require.ErrorIs(t, err, simulator.ErrMessage)
	require.Empty(t, a.Messages("15550002"))
}

func TestWhatACompanionSentBeforeItWasUnlinkedArrives(t *testing.T) {
	dir := t.TempDir()
	s, c, owner, friend := world(t, dir)
	entered, release := make(chan struct{}), make(chan struct{})
	friend.OnMessage(func(m simulator.Message) string {
		if m.Text == "first" {
			close(entered)
			<-release
		}
		return ""
	})
	c.send(friendNumber, "first")
	<-entered
	second := c.send(friendNumber, "second") // acknowledged, and not taken yet
	require.NoError(t, owner.Unlink())
	close(release)
	waitShown(t, friend, byID(second))
	require.NoError(t, s.Close())
	require.NoError(t, newServer(t, dir).Audit())
}

func TestAMemberIsAddedOnce(t *testing.T) {
	s := newServer(t, "")
	a := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	simtest.AddPhone(t, s, "15550003")
	ctx := simtest.Within(t, time.Minute)
	g, err := a.CreateGroup(ctx, "g", "15550002")
	require.NoError(t, err)
	require.NoError(t, a.GroupAdd(ctx, g, "15550003", "15550003"))
	group, err := s.Group(g)
	require.NoError(t, err)
	require.Len(t, group.Members, 3)
}

func TestADamagedJournalIsNotTakenForATornOne(t *testing.T) {
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	for _, n := range []string{"15550001", "15550002", "15550003"} {
		_, err = s.AddPhone(n, "Phone")
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	path := filepath.Join(dir, "sandbox.journal")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	torn := whole[:len(whole)-5]
	require.NoError(t, os.WriteFile(path, torn, 0o600))
	s, err = simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.Len(t, s.Phones(), 2)
	require.NoError(t, s.Close())

	damaged := append([]byte(nil), whole...)
	damaged[200] ^= 1
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	_, err = simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.True(t, errors.Is(err, simulator.ErrDamaged), err)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, damaged, left)
}
