package simulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// ErrMedia says that a file cannot be sent as what it is said to be.
var ErrMedia = errors.New("media cannot be sent")

// Media is a file to send. What is left empty of its description is found out where
// the standard library can: the type of most files, and size and thumbnail of JPEG, PNG and GIF pictures.
type Media struct {
	// Kind is KindImage, KindVideo, KindAudio, KindVoice, KindDocument or KindSticker.
	Kind string `json:"kind"`
	Data []byte `json:"data"`
	MIME string `json:"mime,omitempty"`
	// Name is a document's file name.
	Name string `json:"name,omitempty"`
	// Caption is the text under a picture, a video or a document.
	Caption string `json:"caption,omitempty"`
	Seconds uint32 `json:"seconds,omitempty"`
	Width   uint32 `json:"width,omitempty"`
	Height  uint32 `json:"height,omitempty"`
	// GIF is a video that repeats, without sound; Animated a sticker that moves.
	GIF      bool `json:"gif,omitempty"`
	Animated bool `json:"animated,omitempty"`
	// Waveform is how loud a voice note is, 64 values of 0 to 100.
	Waveform []byte `json:"waveform,omitempty"`
	// Thumbnail is a small JPEG, of a picture, a video or a document.
	Thumbnail []byte `json:"thumbnail,omitempty"`
}

// SendMedia encrypts a file, uploads it to the media host and sends it, as [Phone.Send] does. To a newsletter it
// goes as it is.
func (p *Phone) SendMedia(ctx context.Context, to string, m Media, opts SendOptions) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	kind, err := m.check()
	if err != nil {
		return "", err
	}
	chat, err := p.acct.s.chat(to)
	if err != nil {
		return "", err
	}
	m.complete()
	s := p.acct.s
	var up *uploadedMedia
	if chat.jid.Server == types.NewsletterServer {
		up, err = s.uploadPlain(kind, bytes.NewReader(m.Data))
	} else {
		up, err = s.uploadMedia(kind, bytes.NewReader(m.Data))
	}
	if err != nil {
		return "", fmt.Errorf("upload media: %w", err)
	}
	id, err := p.Send(ctx, to, m.message(up, s.now()), opts)
	if err != nil {
		err = errors.Join(err, s.unlink(up.link))
	}
	return id, err
}

// check says which keys the file is encrypted with, and what is wrong with it.
func (m *Media) check() (kind whatsmeow.MediaType, err error) {
	switch m.Kind {
	case KindImage, KindSticker:
		kind = whatsmeow.MediaImage
	case KindVideo:
		kind = whatsmeow.MediaVideo
	case KindAudio, KindVoice:
		kind = whatsmeow.MediaAudio
	case KindDocument:
		kind = whatsmeow.MediaDocument
	default:
		return "", fmt.Errorf("%w: kind %q", ErrMedia, m.Kind)
	}
	switch {
	case len(m.Data) == 0:
		return "", fmt.Errorf("%w: no data", ErrMedia)
	case m.Caption != "" && m.Kind != KindImage && m.Kind != KindVideo && m.Kind != KindDocument:
		return "", fmt.Errorf("%w: kind %q has no caption", ErrMedia, m.Kind)
	case m.GIF && m.Kind != KindVideo:
		return "", fmt.Errorf("%w: kind %q is no video", ErrMedia, m.Kind)
	case m.Waveform != nil && m.Kind != KindVoice:
		return "", fmt.Errorf("%w: kind %q has no waveform", ErrMedia, m.Kind)
	}
	return kind, nil
}

// complete finds out what was left empty.
func (m *Media) complete() {
	if m.MIME == "" {
		m.MIME = m.detect()
	}
	if m.Kind != KindImage {
		return
	}
	width, height, thumbnail := thumbnailOf(m.Data)
	if m.Width == 0 && m.Height == 0 {
		m.Width, m.Height = width, height
	}
	if m.Thumbnail == nil {
		m.Thumbnail = thumbnail
	}
}

// detect guesses the type, but never another kind than the one that was asked for.
func (m *Media) detect() string {
	found := http.DetectContentType(m.Data)
	if strings.HasPrefix(found, m.Kind+"/") { // a kind's name is that of its family of types
		return found
	}
	switch m.Kind {
	case KindImage:
		return "image/jpeg"
	case KindVideo:
		return "video/mp4"
	case KindAudio:
		return "audio/mpeg"
	case KindVoice:
		return "audio/ogg; codecs=opus"
	case KindSticker:
		return "image/webp"
	}
	return found
}

// message is the message around an uploaded file.
func (m *Media) message(up *uploadedMedia, now int64) *waE2E.Message {
	var encSHA256, key []byte
	var keyTime *int64
	if up.Key != nil { // not in a newsletter
		encSHA256, key, keyTime = up.EncSHA256, up.Key, &now
	}
	switch m.Kind {
	case KindImage:
		return &waE2E.Message{ImageMessage: &waE2E.ImageMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: key, FileEncSHA256: encSHA256, FileSHA256: up.SHA256,
			FileLength: &up.Size, MediaKeyTimestamp: keyTime, Mimetype: &m.MIME, Caption: orNil(m.Caption),
			JPEGThumbnail: m.Thumbnail, Width: orZero(m.Width), Height: orZero(m.Height),
		}}
	case KindVideo:
		video := &waE2E.VideoMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: key, FileEncSHA256: encSHA256, FileSHA256: up.SHA256,
			FileLength: &up.Size, MediaKeyTimestamp: keyTime, Mimetype: &m.MIME, Caption: orNil(m.Caption),
			JPEGThumbnail: m.Thumbnail, Width: orZero(m.Width), Height: orZero(m.Height), Seconds: &m.Seconds,
		}
		if m.GIF {
			video.GifPlayback = proto.Bool(true)
		}
		return &waE2E.Message{VideoMessage: video}
	case KindAudio, KindVoice:
		return &waE2E.Message{AudioMessage: &waE2E.AudioMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: key, FileEncSHA256: encSHA256, FileSHA256: up.SHA256,
			FileLength: &up.Size, MediaKeyTimestamp: keyTime, Mimetype: &m.MIME, Seconds: &m.Seconds,
			PTT: proto.Bool(m.Kind == KindVoice), Waveform: m.Waveform,
		}}
	case KindSticker:
		return &waE2E.Message{StickerMessage: &waE2E.StickerMessage{
			URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: key, FileEncSHA256: encSHA256, FileSHA256: up.SHA256,
			FileLength: &up.Size, MediaKeyTimestamp: keyTime, Mimetype: &m.MIME,
			Width: orZero(m.Width), Height: orZero(m.Height), IsAnimated: &m.Animated,
		}}
	}
	msg := &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{
		URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: key, FileEncSHA256: encSHA256, FileSHA256: up.SHA256,
		FileLength: &up.Size, MediaKeyTimestamp: keyTime, Mimetype: &m.MIME, Caption: orNil(m.Caption),
		FileName: orNil(m.Name), Title: orNil(m.Name), JPEGThumbnail: m.Thumbnail,
	}}
	if m.Caption == "" {
		return msg
	}
	return &waE2E.Message{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{Message: msg}}
}

// LinkPreview is the card that is shown under a text with a link.
type LinkPreview struct {
	URL         string `json:"url"` // as it is in the text
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Thumbnail is a JPEG; it is uploaded to the media host.
	Thumbnail []byte `json:"thumbnail,omitempty"`
}

// SendLink sends a text with the card of a link that is in it.
func (p *Phone) SendLink(ctx context.Context, to, text string, link LinkPreview, opts SendOptions) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var upload []string
	msg := &waE2E.ExtendedTextMessage{
		Text: &text, MatchedText: &link.URL, Title: orNil(link.Title), Description: orNil(link.Description),
	}
	if link.Thumbnail != nil {
		up, err := p.acct.s.uploadMedia(whatsmeow.MediaLinkThumbnail, bytes.NewReader(link.Thumbnail))
		if err != nil {
			return "", fmt.Errorf("upload thumbnail: %w", err)
		}
		upload = append(upload, up.link)
		now := p.acct.s.now()
		msg.ThumbnailDirectPath, msg.MediaKey, msg.MediaKeyTimestamp = &up.DirectPath, up.Key, &now
		msg.ThumbnailSHA256, msg.ThumbnailEncSHA256 = up.SHA256, up.EncSHA256
		width, height, small := thumbnailOf(link.Thumbnail)
		msg.ThumbnailWidth, msg.ThumbnailHeight, msg.JPEGThumbnail = orZero(width), orZero(height), small
	}
	id, err := p.Send(ctx, to, &waE2E.Message{ExtendedTextMessage: msg}, opts)
	if err != nil {
		err = errors.Join(err, p.acct.s.unlink(upload...))
	}
	return id, err
}

// uploadPlain puts a file on the media host as it is, for a newsletter.
func (s *Server) uploadPlain(kind whatsmeow.MediaType, plain *bytes.Reader) (*uploadedMedia, error) {
	part, err := s.media.part(s.opts.MediaLimit)
	if err != nil {
		return nil, err
	}
	defer part.discard()
	if _, err = plain.WriteTo(part); err != nil {
		return nil, fmt.Errorf("write media: %w", err)
	}
	l, err := s.publish(part, newsletterPrefix+mmsType(kind))
	if err != nil {
		return nil, err
	}
	return &uploadedMedia{link: l.ID, URL: s.mediaURL(l), DirectPath: s.mediaPath(l), SHA256: l.Hash, Size: uint64(l.Size)}, nil
}

func orZero(n uint32) *uint32 {
	if n == 0 {
		return nil
	}
	return &n
}
