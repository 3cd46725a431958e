package simulator_test

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// retry asks the client's phone to upload a message's file anew and returns the answer.
func (c *client) retry(ctx context.Context, info *types.MessageInfo, key []byte) *events.MediaRetry {
	c.t.Helper()
	c.Forget()
	require.NoError(c.t, c.SendMediaRetryReceipt(ctx, info, key))
	evt := waitEvent(c, func(m *events.MediaRetry) bool { return m.MessageID == info.ID })
	require.Equal(c.t, info.Chat, evt.ChatID)
	require.Equal(c.t, info.IsFromMe, evt.FromMe)
	return evt
}

func TestAPhoneUploadsAnewWhatTheMediaHostHasNoLonger(t *testing.T) {
	clock := new(clock)
	s := simtest.Serve(t, simulator.Options{Dir: t.TempDir(), Clock: clock.now})
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	data := noise(1, 50_000)
	fromFriend, err := friend.SendMedia(ctx, "15550001", simulator.Media{Kind: simulator.KindVideo, Data: data}, simulator.SendOptions{ByLID: true})
	require.NoError(t, err)
	fromPhone, err := owner.SendMedia(ctx, "15550002", simulator.Media{Kind: simulator.KindDocument, Data: data}, simulator.SendOptions{})
	require.NoError(t, err)
	up, err := c.Upload(ctx, noise(2, 300), whatsmeow.MediaDocument)
	require.NoError(t, err)
	own, err := c.SendMessage(ctx, types.NewJID("15550002", types.DefaultUserServer), &waE2E.Message{DocumentMessage: document(up)})
	require.NoError(t, err)
	_, err = owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == own.ID })
	require.NoError(t, err)
	type lost struct {
		info types.MessageInfo
		part whatsmeow.DownloadableMessage
		data []byte
	}
	received, sent := c.waitMessage(fromFriend), c.waitMessage(fromPhone)
	_, err = owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == fromFriend })
	require.NoError(t, err)
	require.True(t, sent.Info.IsFromMe)
	messages := []lost{
		{received.Info, received.Message.VideoMessage, data},
		{sent.Info, sent.Message.DocumentMessage, data},
		{types.MessageInfo{ID: own.ID, MessageSource: types.MessageSource{Chat: types.NewJID("15550002", types.DefaultUserServer), IsFromMe: true}}, document(up), noise(2, 300)},
	}
	for _, m := range s.Media() {
		require.NoError(t, s.DeleteMedia(m.ID))
	}
	for round, why := range []error{whatsmeow.ErrMediaDownloadFailedWith404, whatsmeow.ErrMediaDownloadFailedWith410} {
		for _, m := range messages {
			_, err = c.Download(ctx, m.part)
			require.ErrorIs(t, err, why)
			answer, err := whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &m.info, m.part.GetMediaKey()), m.part.GetMediaKey())
			require.NoError(t, err)
			require.Equal(t, waMmsRetry.MediaRetryNotification_SUCCESS, answer.GetResult())
			require.Equal(t, m.info.ID, answer.GetStanzaID())
			require.NotEqual(t, m.part.GetDirectPath(), answer.GetDirectPath())
			kind := whatsmeow.GetMediaType(m.part)
			got, err := c.DownloadMediaWithPath(ctx, answer.GetDirectPath(), m.part.GetFileEncSHA256(), m.part.GetFileSHA256(),
				m.part.GetMediaKey(), len(m.data), kind, "")
			require.NoError(t, err)
			require.Equal(t, m.data, got)
		}
		require.Len(t, s.Media(), len(messages))
		if round == 0 {
			clock.advance(31 * 24 * time.Hour) // now the links have expired
		}
	}
	require.NoError(t, d.WaitDrained(ctx), "the answers were acknowledged")
}

func TestAPhoneThatCannotUploadAnewSaysWhy(t *testing.T) {
	dir := t.TempDir()
	s := simtest.Serve(t, simulator.Options{Dir: dir})
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	id, err := friend.SendMedia(ctx, "15550001", simulator.Media{Kind: simulator.KindAudio, Data: noise(1, 900)}, simulator.SendOptions{})
	require.NoError(t, err)
	evt := c.waitMessage(id)
	_, err = owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == id }) // the phone may get it a moment later
	require.NoError(t, err)
	key := evt.Message.AudioMessage.MediaKey
	result := func() waMmsRetry.MediaRetryNotification_ResultType {
		answer, err := whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &evt.Info, key), key)
		require.NoError(t, err)
		require.Equal(t, answer.GetResult() == waMmsRetry.MediaRetryNotification_SUCCESS, answer.DirectPath != nil)
		return answer.GetResult()
	}
	require.NoError(t, owner.AnswerMediaRetries(simulator.MediaRetryNotFound))
	require.Equal(t, waMmsRetry.MediaRetryNotification_NOT_FOUND, result())
	require.NoError(t, owner.AnswerMediaRetries(simulator.MediaRetryGeneralError))
	require.Equal(t, waMmsRetry.MediaRetryNotification_GENERAL_ERROR, result())
	require.NoError(t, owner.AnswerMediaRetries(simulator.MediaRetryUnavailable))
	_, err = whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &evt.Info, key), key)
	require.ErrorIs(t, err, whatsmeow.ErrMediaNotAvailableOnPhone)
	require.ErrorIs(t, owner.AnswerMediaRetries("perhaps"), simulator.ErrMedia)

	// A phone that is silent: the answer that comes is the one to the second question.
	require.NoError(t, owner.AnswerMediaRetries(simulator.MediaRetrySilent))
	require.NoError(t, c.SendMediaRetryReceipt(ctx, &evt.Info, key))
	_, err = c.GetBlocklist(ctx) // answered behind the question, which the phone has heard by then
	require.NoError(t, err)
	require.NoError(t, owner.AnswerMediaRetries(simulator.MediaRetryUpload))
	require.Equal(t, waMmsRetry.MediaRetryNotification_SUCCESS, result())

	// Questions that nobody could answer.
	answer, err := whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &evt.Info, noise(5, 32)), key)
	require.NoError(t, err)
	require.Equal(t, waMmsRetry.MediaRetryNotification_DECRYPTION_ERROR, answer.GetResult(), "asked with another key")
	other := evt.Info
	other.ID = "3AUNKNOWN"
	_, err = whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &other, key), key)
	require.ErrorIs(t, err, whatsmeow.ErrMediaNotAvailableOnPhone)
	other = evt.Info
	other.Chat = types.NewJID("15559999", types.DefaultUserServer)
	_, err = whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &other, key), key)
	require.ErrorIs(t, err, whatsmeow.ErrMediaNotAvailableOnPhone)

	require.NoError(t, owner.ForgetMedia("15550002", id))
	require.NoError(t, owner.ForgetMedia("15550002", id), "twice is harmless")
	require.ErrorIs(t, owner.ForgetMedia("15550002", "3AUNKNOWN"), simulator.ErrUnknownMessage)
	require.Equal(t, waMmsRetry.MediaRetryNotification_NOT_FOUND, result())
	m, ok := owner.Message("15550002", id)
	require.True(t, ok)
	require.True(t, m.Media.Missing)
	_, err = owner.Download(ctx, m)
	require.NoError(t, err, "from the media host")
	for _, hosted := range s.Media() {
		require.NoError(t, s.DeleteMedia(hosted.ID))
	}
	_, err = owner.Download(ctx, m)
	require.ErrorIs(t, err, simulator.ErrUnknownMedia)

	// The sender has the last copy; a message that is taken back takes it along.
	files := func() int {
		entries, err := os.ReadDir(filepath.Join(dir, "media"))
		require.NoError(t, err)
		return len(entries)
	}
	require.Equal(t, 1, files())
	_, err = friend.Revoke(ctx, "15550001", id)
	require.NoError(t, err)
	require.Zero(t, files())
}

func TestARestartKeepsMediaAndWhatPhonesKnowOfThem(t *testing.T) {
	long(t)
	dir := t.TempDir()
	first, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, first.Start("127.0.0.1:0"))
	ctx := simtest.Within(t, 60*time.Second)
	owner, friend := simtest.AddPhone(t, first, "15550001"), simtest.AddPhone(t, first, "15550002")
	c, d := paired(t, first, owner)
	var events []*events.Message
	var ids []string
	for i := range 3 {
		id, err := friend.SendMedia(ctx, "15550001", simulator.Media{Kind: simulator.KindDocument, Data: noise(uint64(i), 2000)}, simulator.SendOptions{})
		require.NoError(t, err)
		ids, events = append(ids, id), append(events, c.waitMessage(id))
	}
	_, err = owner.WaitReceived(ctx, 3)
	require.NoError(t, err)
	hosted := map[string]string{}
	for _, m := range first.Media() {
		hosted[m.SHA256] = m.ID
	}
	require.Len(t, hosted, 3)
	id := func(i int) string {
		return hosted[hex.EncodeToString(events[i].Message.DocumentMessage.FileEncSHA256)]
	}
	require.NoError(t, first.DeleteMedia(id(1)))
	require.NoError(t, first.DeleteMedia(id(2)))
	require.NoError(t, owner.ForgetMedia("15550002", ids[2]))
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	served := first.Media()
	require.NoError(t, first.Close())

	second := newServer(t, dir)
	require.Equal(t, served, second.Media())
	c.s = second
	c.renew(false)
	require.NoError(t, c.Connect())
	got, err := c.Download(ctx, events[0].Message.DocumentMessage)
	require.NoError(t, err)
	require.Equal(t, noise(0, 2000), got)
	owner = second.Phone("15550001")
	for i, want := range []waMmsRetry.MediaRetryNotification_ResultType{
		waMmsRetry.MediaRetryNotification_SUCCESS, waMmsRetry.MediaRetryNotification_SUCCESS, waMmsRetry.MediaRetryNotification_NOT_FOUND,
	} {
		m, ok := owner.Message("15550002", ids[i])
		require.True(t, ok)
		require.Equal(t, want != waMmsRetry.MediaRetryNotification_SUCCESS, m.Media.Missing)
		part := events[i].Message.DocumentMessage
		answer, err := whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &events[i].Info, part.MediaKey), part.MediaKey)
		require.NoError(t, err)
		require.Equal(t, want, answer.GetResult())
		if want != waMmsRetry.MediaRetryNotification_SUCCESS {
			continue
		}
		part.URL, part.DirectPath = nil, proto.String(answer.GetDirectPath())
		got, err = c.Download(ctx, part)
		require.NoError(t, err)
		require.Equal(t, noise(uint64(i), 2000), got)
		got, err = owner.Download(ctx, m)
		require.NoError(t, err)
		require.Equal(t, noise(uint64(i), 2000), got)
	}
	m, ok := second.Phone("15550002").Message("15550001", ids[2])
	require.True(t, ok)
	got, err = second.Phone("15550002").Download(ctx, m)
	require.NoError(t, err, "its sender has kept it")
	require.Equal(t, noise(2, 2000), got)
}

func TestAKilledServerKeepsEachUploadThatItAnswered(t *testing.T) {
	long(t)
	p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	p.start()
	defer func() { p.kill() }()
	p.call("POST", "/sandbox/phones", map[string]string{"number": "15550001", "name": "x"}, nil)
	c := newClient(t, p)
	qr, err := c.GetQRChannel(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	p.call("POST", "/sandbox/phones/15550001/scan", map[string]string{"qr": (<-qr).Code}, nil)
	for range qr {
	}
	waitEvent(c, simtest.AnyOf[*events.Connected])
	ctx := simtest.Within(t, 60*time.Second)
	var ups []whatsmeow.UploadResponse
	for round := range 3 {
		enough, stopped := make(chan struct{}), make(chan struct{})
		go func() { // uploads until the kill cuts one off
			defer close(stopped)
			for i := uint64(1); ; i++ {
				up, err := c.Upload(ctx, noise(uint64(round)<<4+i%16, 200_000), whatsmeow.MediaDocument)
				if err != nil {
					return
				}
				if ups = append(ups, up); i == 10 {
					close(enough)
				}
			}
		}()
		<-enough
		p.kill()
		<-stopped
		p.start()
		c.wait("login", func() bool { return c.IsLoggedIn() })
		for _, up := range ups {
			got, err := c.Download(ctx, document(up))
			require.NoError(t, err)
			require.EqualValues(t, up.FileSHA256, sum(got))
		}
		entries, err := os.ReadDir(filepath.Join(p.dir, "media"))
		require.NoError(t, err)
		for _, e := range entries {
			require.NotContains(t, e.Name(), "part", "nothing is left of an upload that was cut off")
		}
		require.LessOrEqual(t, len(entries), len(ups)+round+1, "at most one of each round was complete and not answered")
	}
}

func TestAPhoneUploadsAnewWhatWasSentToAGroup(t *testing.T) {
	long(t)
	s := newServer(t, t.TempDir())
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	group, err := friend.CreateGroup(ctx, "Group", "15550001")
	require.NoError(t, err)
	data := noise(1, 4000)
	id, err := friend.SendMedia(ctx, group, simulator.Media{Kind: simulator.KindImage, Data: data, Caption: "look"}, simulator.SendOptions{})
	require.NoError(t, err)
	evt := c.waitMessage(id)
	require.True(t, evt.Info.IsGroup)
	got, err := c.Download(ctx, evt.Message.ImageMessage)
	require.NoError(t, err)
	require.Equal(t, data, got)
	_, err = owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == id })
	require.NoError(t, err)
	require.NoError(t, s.DeleteMedia(s.Media()[0].ID))
	key := evt.Message.ImageMessage.MediaKey
	answer, err := whatsmeow.DecryptMediaRetryNotification(c.retry(ctx, &evt.Info, key), key)
	require.NoError(t, err)
	evt.Message.ImageMessage.URL, evt.Message.ImageMessage.DirectPath = nil, proto.String(answer.GetDirectPath())
	got, err = c.Download(ctx, evt.Message.ImageMessage)
	require.NoError(t, err)
	require.Equal(t, data, got)
}
