package whatsapp

import (
	"encoding/hex"
	"strings"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// reader reads one kind of content into a message. ok is false when p is of another
// kind. info is the content's context, and rest says that it holds more than was read
// (a preview, a thumbnail, the keys of a file), so that the raw form has to be kept.
type reader func(p *waE2E.Message, m *sdk.Message) (info *waE2E.ContextInfo, rest, ok bool)

type kind struct {
	name sdk.Kind
	read reader
}

// kinds are all message kinds, each in its kind_<name>.go. A newcomer's row goes here.
func kinds() [9]kind {
	return [9]kind{
		{sdk.KindText, readText},
		{sdk.KindImage, readImage},
		{sdk.KindVideo, readVideo},
		{sdk.KindAudio, readAudio},
		{sdk.KindDocument, readDocument},
		{sdk.KindSticker, readSticker},
		{sdk.KindLocation, readLocation},
		{sdk.KindContact, readContact},
		{sdk.KindPoll, readPoll},
	}
}

// utf8 makes text valid: it may come from anyone.
func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// file is what the kinds with a file have in common.
type file interface {
	GetMimetype() string
	GetFileLength() uint64
	GetFileSHA256() []byte
}

// mediaPending is a file that was not fetched yet.
const mediaPending = "pending"

func readFile(f file) *sdk.Media {
	return &sdk.Media{
		MIME: utf8(f.GetMimetype()), Size: int64(min(f.GetFileLength(), 1<<62)), //nolint:gosec // bounded just here
		SHA256: hex.EncodeToString(f.GetFileSHA256()), Status: mediaPending,
	}
}
