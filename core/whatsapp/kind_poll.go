package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

// readPoll reads a poll's question; votes are encrypted and no message.
func readPoll(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	var c *waE2E.PollCreationMessage
	for _, one := range []*waE2E.PollCreationMessage{
		p.GetPollCreationMessage(), p.GetPollCreationMessageV2(), p.GetPollCreationMessageV3(),
		p.GetPollCreationMessageV4().GetMessage().GetPollCreationMessage(), p.GetPollCreationMessageV5(),
	} {
		if one != nil {
			c = one
		}
	}
	if c == nil {
		return nil, false, false
	}
	m.Text = utf8(c.GetName())
	m.Poll = &sdk.Poll{Question: m.Text, Options: make([]string, len(c.GetOptions())), Selectable: c.GetSelectableOptionsCount()}
	for i, o := range c.GetOptions() {
		m.Poll.Options[i] = utf8(o.GetOptionName())
	}
	return c.ContextInfo, true, true
}
