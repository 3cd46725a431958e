package simulator_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// picture is a PNG, red on the left and blue on the right.
func picture(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{R: 255, A: 255}
			if x >= width/2 {
				c = color.NRGBA{B: 255, A: 255}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

// waitMessage waits for the client's message with an id.
func (c *client) waitMessage(id string) *events.Message {
	c.t.Helper()
	return waitEvent(c, func(m *events.Message) bool { return m.Info.ID == id })
}

// file is the part of a message that can be downloaded.
func file(m *waE2E.Message) whatsmeow.DownloadableMessage {
	switch {
	case m.ImageMessage != nil:
		return m.ImageMessage
	case m.VideoMessage != nil:
		return m.VideoMessage
	case m.AudioMessage != nil:
		return m.AudioMessage
	case m.DocumentMessage != nil:
		return m.DocumentMessage
	}
	return m.StickerMessage
}

func TestAClientDownloadsEveryKindOfMediaThatAPhoneSends(t *testing.T) {
	s := newServer(t, t.TempDir())
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	wave := bytes.Repeat([]byte{7, 90}, 32)
	small := noise(99, 300)
	for i, tc := range []struct {
		media    simulator.Media
		viewOnce bool
		says     proto.Message
		typ      string
	}{
		{
			media: simulator.Media{Kind: simulator.KindImage, Data: picture(t, 300, 150), Caption: "a picture"},
			says:  &waE2E.ImageMessage{Mimetype: proto.String("image/png"), Caption: proto.String("a picture"), Width: proto.Uint32(300), Height: proto.Uint32(150)},
			typ:   "image",
		},
		{
			media: simulator.Media{Kind: simulator.KindImage, Data: noise(1, 100), MIME: "image/heic", Thumbnail: small}, viewOnce: true,
			says: &waE2E.ImageMessage{Mimetype: proto.String("image/heic"), JPEGThumbnail: small, ViewOnce: proto.Bool(true)},
			typ:  "image",
		},
		{
			media: simulator.Media{Kind: simulator.KindVideo, Data: noise(2, 200_000), Caption: "a film", Seconds: 12, Width: 640, Height: 480, Thumbnail: small},
			says: &waE2E.VideoMessage{
				Mimetype: proto.String("video/mp4"), Caption: proto.String("a film"), Seconds: proto.Uint32(12),
				Width: proto.Uint32(640), Height: proto.Uint32(480), JPEGThumbnail: small,
			},
			typ: "video",
		},
		{
			media: simulator.Media{Kind: simulator.KindVideo, Data: noise(3, 16), GIF: true, Seconds: 1}, viewOnce: true,
			says: &waE2E.VideoMessage{Mimetype: proto.String("video/mp4"), Seconds: proto.Uint32(1), GifPlayback: proto.Bool(true), ViewOnce: proto.Bool(true)},
			typ:  "gif",
		},
		{
			media: simulator.Media{Kind: simulator.KindAudio, Data: append([]byte("ID3"), noise(4, 29)...), Seconds: 100},
			says:  &waE2E.AudioMessage{Mimetype: proto.String("audio/mpeg"), Seconds: proto.Uint32(100), PTT: proto.Bool(false)},
			typ:   "audio",
		},
		{
			media: simulator.Media{Kind: simulator.KindVoice, Data: noise(5, 5000), Seconds: 3, Waveform: wave},
			says:  &waE2E.AudioMessage{Mimetype: proto.String("audio/ogg; codecs=opus"), Seconds: proto.Uint32(3), PTT: proto.Bool(true), Waveform: wave},
			typ:   "ptt",
		},
		{
			media: simulator.Media{Kind: simulator.KindVoice, Data: noise(6, 1)}, viewOnce: true,
			says: &waE2E.AudioMessage{Mimetype: proto.String("audio/ogg; codecs=opus"), Seconds: proto.Uint32(0), PTT: proto.Bool(true), ViewOnce: proto.Bool(true)},
			typ:  "ptt",
		},
		{
			media: simulator.Media{Kind: simulator.KindDocument, Data: []byte("%PDF-1.4 and so on"), Name: "bill.pdf"},
			says:  &waE2E.DocumentMessage{Mimetype: proto.String("application/pdf"), FileName: proto.String("bill.pdf"), Title: proto.String("bill.pdf")},
			typ:   "document",
		},
		{
			media: simulator.Media{Kind: simulator.KindDocument, Data: noise(7, 1<<20), MIME: "application/zip", Caption: "an archive"},
			says:  &waE2E.DocumentMessage{Mimetype: proto.String("application/zip"), Caption: proto.String("an archive")},
			typ:   "document",
		},
		{
			media: simulator.Media{Kind: simulator.KindSticker, Data: noise(8, 4000), Width: 512, Height: 512, Animated: true},
			says:  &waE2E.StickerMessage{Mimetype: proto.String("image/webp"), Width: proto.Uint32(512), Height: proto.Uint32(512), IsAnimated: proto.Bool(true)},
			typ:   "sticker",
		},
	} {
		name := fmt.Sprint(i, " ", tc.media.Kind)
		id, err := friend.SendMedia(ctx, "15550001", tc.media, simulator.SendOptions{ViewOnce: tc.viewOnce})
		require.NoError(t, err, name)
		evt := c.waitMessage(id)
		require.Equal(t, tc.typ, evt.Info.MediaType, name)
		require.Equal(t, tc.viewOnce, evt.IsViewOnce, name)
		part := file(evt.Message)
		data, err := c.Download(ctx, part)
		require.NoError(t, err, name)
		require.Equal(t, tc.media.Data, data, name)
		data, err = c.DownloadAny(ctx, evt.Message) //nolint:staticcheck // some clients still use it
		require.NoError(t, err, name)
		require.Equal(t, tc.media.Data, data, name)
		to, err := os.Create(filepath.Join(t.TempDir(), "file"))
		require.NoError(t, err)
		require.NoError(t, c.DownloadToFile(ctx, part, to), name)
		data, err = os.ReadFile(to.Name())
		require.NoError(t, err)
		require.NoError(t, to.Close())
		require.Equal(t, tc.media.Data, data, name)

		// The owner's phone shows and has it too.
		m, err := owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == id })
		require.NoError(t, err)
		require.Equal(t, tc.media.Kind, m.Kind)
		require.Equal(t, tc.media.Caption, m.Text)
		require.Equal(t, tc.viewOnce, m.ViewOnce)
		width, height := tc.media.Width, tc.media.Height
		if i == 0 {
			width, height = 300, 150
		}
		require.Empty(t, cmp.Diff(&simulator.MediaInfo{
			MIME: part.(interface{ GetMimetype() string }).GetMimetype(), Name: tc.media.Name, Size: uint64(len(tc.media.Data)),
			SHA256: fmt.Sprintf("%x", sum(tc.media.Data)), Seconds: tc.media.Seconds, Width: width, Height: height,
			GIF: tc.media.GIF, Animated: tc.media.Animated,
		}, m.Media), name)
		for p, m := range map[*simulator.Phone]simulator.Message{owner: m, friend: friend.Messages("15550001")[i]} {
			data, err = p.Download(ctx, m)
			require.NoError(t, err, name)
			require.Equal(t, tc.media.Data, data, name)
		}

		// What else it says, without where the file is.
		bare := proto.Clone(part.(proto.Message))
		refl, fields := bare.ProtoReflect(), bare.ProtoReflect().Descriptor().Fields()
		if tc.media.Kind == simulator.KindImage && tc.media.Thumbnail == nil {
			checkThumbnail(t, evt.Message.ImageMessage.JPEGThumbnail)
			refl.Clear(fields.ByName("JPEGThumbnail"))
		}
		for _, field := range []string{"URL", "directPath", "mediaKey", "fileEncSHA256", "fileSHA256", "fileLength", "mediaKeyTimestamp"} {
			require.True(t, refl.Has(fields.ByName(protoreflect.Name(field))), "%s: %s", name, field)
			refl.Clear(fields.ByName(protoreflect.Name(field)))
		}
		require.True(t, proto.Equal(tc.says, bare), "%s: %v\n%v", name, tc.says, bare)
	}
}

func checkThumbnail(t *testing.T, data []byte) {
	t.Helper()
	small, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 100, 50), small.Bounds())
	r, _, b, _ := small.At(10, 10).RGBA()
	require.Greater(t, r, b)
	r, _, b, _ = small.At(90, 40).RGBA()
	require.Greater(t, b, r)
}

func TestAPhoneDownloadsWhatAClientSends(t *testing.T) {
	s := newServer(t, t.TempDir())
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	ctx := simtest.Within(t, 60*time.Second)
	plain := noise(1, 70_000)
	up, err := c.Upload(ctx, bytes.Clone(plain), whatsmeow.MediaDocument)
	require.NoError(t, err)
	send := func(part *waE2E.DocumentMessage) (string, simulator.Message) {
		resp, err := c.SendMessage(ctx, types.NewJID("15550002", types.DefaultUserServer), &waE2E.Message{DocumentMessage: part})
		require.NoError(t, err)
		m, err := friend.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == resp.ID })
		require.NoError(t, err)
		return resp.ID, m
	}
	id, m := send(document(up))
	require.Equal(t, simulator.KindDocument, m.Kind)
	require.Empty(t, cmp.Diff(&simulator.MediaInfo{
		MIME: "application/pdf", Name: "a.pdf", Size: 70_000, SHA256: fmt.Sprintf("%x", sum(plain)),
	}, m.Media))
	got, err := friend.Download(ctx, m)
	require.NoError(t, err)
	require.Equal(t, plain, got)
	m, err = owner.WaitMessage(ctx, func(m simulator.Message) bool { return m.ID == id })
	require.NoError(t, err)
	got, err = owner.Download(ctx, m)
	require.NoError(t, err)
	require.Equal(t, plain, got)

	other, err := c.Upload(ctx, noise(2, 70_000), whatsmeow.MediaDocument)
	require.NoError(t, err)
	for _, tc := range []struct {
		why    string
		change func(*waE2E.DocumentMessage)
		err    error
	}{
		{"a key that does not fit", func(d *waE2E.DocumentMessage) { d.MediaKey = other.MediaKey }, simulator.ErrMediaBroken},
		{"another length", func(d *waE2E.DocumentMessage) { d.FileLength = proto.Uint64(69_999) }, simulator.ErrMediaBroken},
		{"another hash", func(d *waE2E.DocumentMessage) { d.FileSHA256 = other.FileSHA256 }, simulator.ErrMediaBroken},
		{"no hash", func(d *waE2E.DocumentMessage) { d.FileEncSHA256 = nil }, simulator.ErrMediaBroken},
		{"the path of another file", func(d *waE2E.DocumentMessage) { d.URL, d.DirectPath = &other.URL, &other.DirectPath }, simulator.ErrUnknownMedia},
		{"no path", func(d *waE2E.DocumentMessage) { d.URL, d.DirectPath = nil, nil }, simulator.ErrUnknownMedia},
	} {
		part := document(up)
		tc.change(part)
		_, m := send(part)
		_, err := friend.Download(ctx, m)
		require.ErrorIs(t, err, tc.err, tc.why)
	}
	_, m = send(document(up))
	m.Content = &waE2E.Message{Conversation: proto.String("no file")}
	_, err = friend.Download(ctx, m)
	require.ErrorIs(t, err, simulator.ErrUnknownMedia)
}

func TestALinkIsShownWithAThumbnailFromTheMediaHost(t *testing.T) {
	s := newServer(t, "")
	friend := simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 30*time.Second)
	id, err := friend.SendLink(ctx, "15550001", "see https://example.com/a", simulator.LinkPreview{
		URL: "https://example.com/a", Title: "A page", Description: "about A", Thumbnail: picture(t, 300, 150),
	}, simulator.SendOptions{})
	require.NoError(t, err)
	x := c.waitMessage(id).Message.GetExtendedTextMessage()
	require.Equal(t, "see https://example.com/a", x.GetText())
	require.Equal(t, "https://example.com/a", x.GetMatchedText())
	require.Equal(t, "A page", x.GetTitle())
	checkThumbnail(t, x.JPEGThumbnail)
	got, err := c.DownloadThumbnail(ctx, x)
	require.NoError(t, err)
	require.Equal(t, picture(t, 300, 150), got)
	require.Equal(t, "thumbnail-link", s.Media()[0].Type)
}

func TestMediaThatCannotBeSentIsRefused(t *testing.T) {
	s := newServer(t, "")
	p := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	data := []byte("x")
	for _, m := range []simulator.Media{
		{Kind: simulator.KindImage},
		{Kind: "music", Data: data},
		{Data: data},
		{Kind: simulator.KindText, Data: data},
		{Kind: simulator.KindVoice, Data: data, Caption: "c"},
		{Kind: simulator.KindImage, Data: data, GIF: true},
		{Kind: simulator.KindAudio, Data: data, Waveform: data},
	} {
		_, err := p.SendMedia(t.Context(), "15550002", m, simulator.SendOptions{})
		require.ErrorIs(t, err, simulator.ErrMedia)
	}
	_, err := p.SendMedia(t.Context(), "15550003", simulator.Media{Kind: simulator.KindImage, Data: data}, simulator.SendOptions{})
	require.ErrorIs(t, err, simulator.ErrUnknownNumber)
	require.Empty(t, s.Media(), "nothing is uploaded for nobody")
}
