package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// readLocation reads a point, or the first one of a live location.
func readLocation(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	if l := p.GetLocationMessage(); l != nil {
		m.Text = utf8(l.GetComment())
		m.Location = &sdk.Location{
			Latitude: l.GetDegreesLatitude(), Longitude: l.GetDegreesLongitude(),
			Name: utf8(l.GetName()), Address: utf8(l.GetAddress()), Live: l.GetIsLive(),
		}
		return l.ContextInfo, true, true
	}
	if l := p.GetLiveLocationMessage(); l != nil {
		m.Text = utf8(l.GetCaption())
		m.Location = &sdk.Location{Latitude: l.GetDegreesLatitude(), Longitude: l.GetDegreesLongitude(), Live: true}
		return l.ContextInfo, true, true
	}
	return nil, false, false
}
