package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

func readDocument(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	d := p.GetDocumentMessage()
	if d == nil {
		return nil, false, false
	}
	m.Text = utf8(d.GetCaption())
	m.Media = readFile(d)
	if m.Media.Name = utf8(d.GetFileName()); m.Media.Name == "" {
		m.Media.Name = utf8(d.GetTitle())
	}
	return d.ContextInfo, true, true
}
