package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

func readImage(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	i := p.GetImageMessage()
	if i == nil {
		return nil, false, false
	}
	m.Text = utf8(i.GetCaption())
	m.ViewOnce = i.GetViewOnce()
	m.Media = readFile(i)
	m.Media.Width, m.Media.Height = i.GetWidth(), i.GetHeight()
	return i.ContextInfo, true, true
}
