package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

func readSticker(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	s := p.GetStickerMessage()
	if s == nil {
		return nil, false, false
	}
	m.Media = readFile(s)
	m.Media.Width, m.Media.Height = s.GetWidth(), s.GetHeight()
	return s.ContextInfo, true, true
}
