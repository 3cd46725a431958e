package simulator

import (
	"encoding/hex"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
)

// MediaInfo is what a phone shows of a message's file. What kind it is, and whether it may be seen
// once only, is of the [Message].
type MediaInfo struct {
	MIME string `json:"mime"`
	Name string `json:"name,omitempty"` // of a document
	// Size, in bytes, and SHA256, in hexadecimal, are those of the plain file, as the sender says.
	Size    uint64 `json:"size"`
	SHA256  string `json:"sha256"`
	Seconds uint32 `json:"seconds,omitempty"`
	Width   uint32 `json:"width,omitempty"`
	Height  uint32 `json:"height,omitempty"`
	// GIF is a video that repeats, without sound; Animated a sticker that moves.
	GIF      bool `json:"gif,omitempty"`
	Animated bool `json:"animated,omitempty"`
	// Missing says that the phone has no copy of the file: the media host did not have it when the
	// message came, or [Phone.ForgetMedia] removed it.
	Missing bool `json:"missing,omitempty"`
}

// attachment is the part of a message that says where its file is.
type attachment interface {
	whatsmeow.DownloadableMessage
	GetURL() string
	GetMimetype() string
	GetFileLength() uint64
}

// attachmentOf returns the part of an unwrapped message that has a file, or nil.
func attachmentOf(msg *waE2E.Message) attachment {
	switch {
	case msg.GetImageMessage() != nil:
		return msg.ImageMessage
	case msg.GetVideoMessage() != nil:
		return msg.VideoMessage
	case msg.GetPtvMessage() != nil:
		return msg.PtvMessage
	case msg.GetAudioMessage() != nil:
		return msg.AudioMessage
	case msg.GetDocumentMessage() != nil:
		return msg.DocumentMessage
	case msg.GetStickerMessage() != nil:
		return msg.StickerMessage
	}
	return nil
}

// mediaInfo describes the file of an unwrapped message; nil for one without.
func mediaInfo(msg *waE2E.Message) *MediaInfo {
	file := attachmentOf(msg)
	if file == nil {
		return nil
	}
	info := &MediaInfo{MIME: file.GetMimetype(), Size: file.GetFileLength(), SHA256: hex.EncodeToString(file.GetFileSHA256())}
	switch m := file.(type) {
	case *waE2E.ImageMessage:
		info.Width, info.Height = m.GetWidth(), m.GetHeight()
	case *waE2E.VideoMessage:
		info.Width, info.Height, info.Seconds, info.GIF = m.GetWidth(), m.GetHeight(), m.GetSeconds(), m.GetGifPlayback()
	case *waE2E.AudioMessage:
		info.Seconds = m.GetSeconds()
	case *waE2E.DocumentMessage:
		info.Name = m.GetFileName()
	case *waE2E.StickerMessage:
		info.Width, info.Height, info.Animated = m.GetWidth(), m.GetHeight(), m.GetIsAnimated()
	}
	return info
}
