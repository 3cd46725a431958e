package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// readContact reads one contact card or several.
func readContact(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	if c := p.GetContactMessage(); c != nil {
		m.Contacts = []sdk.Contact{card(c)}
		return c.ContextInfo, false, true
	}
	a := p.GetContactsArrayMessage()
	if a == nil {
		return nil, false, false
	}
	m.Contacts = make([]sdk.Contact, len(a.GetContacts()))
	for i, c := range a.GetContacts() {
		m.Contacts[i] = card(c)
	}
	return a.ContextInfo, true, true
}

func card(c *waE2E.ContactMessage) sdk.Contact {
	return sdk.Contact{Name: utf8(c.GetDisplayName()), VCard: utf8(c.GetVcard())}
}
