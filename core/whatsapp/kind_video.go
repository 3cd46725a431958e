package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// readVideo reads a video, and the round one that is taken while talking.
func readVideo(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	v := p.GetVideoMessage()
	if v == nil {
		v = p.GetPtvMessage()
	}
	if v == nil {
		return nil, false, false
	}
	m.Text = utf8(v.GetCaption())
	m.ViewOnce = v.GetViewOnce()
	m.Media = readFile(v)
	m.Media.Width, m.Media.Height, m.Media.Duration = v.GetWidth(), v.GetHeight(), v.GetSeconds()
	return v.ContextInfo, true, true
}
