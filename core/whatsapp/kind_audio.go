package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// readAudio reads a sound file or a voice note.
func readAudio(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	a := p.GetAudioMessage()
	if a == nil {
		return nil, false, false
	}
	m.ViewOnce = a.GetViewOnce()
	m.Media = readFile(a)
	m.Media.Voice, m.Media.Duration = a.GetPTT(), a.GetSeconds()
	return a.ContextInfo, true, true
}
