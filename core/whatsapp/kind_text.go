package whatsapp

import (
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/sdk"
)

// readText reads a plain text, and the extended one that carries a quote, mentions or a preview.
func readText(p *waE2E.Message, m *sdk.Message) (*waE2E.ContextInfo, bool, bool) {
	if p == nil {
		return nil, false, false
	}
	if p.Conversation != nil && p.ExtendedTextMessage == nil {
		if p.GetConversation() == "" && p.SenderKeyDistributionMessage != nil {
			return nil, false, false
		}
		m.Text = utf8(p.GetConversation())
		return nil, false, true
	}
	e := p.GetExtendedTextMessage()
	if e == nil {
		return nil, false, false
	}
	m.Text = utf8(e.GetText())
	m.ViewOnce = e.GetViewOnce()
	rest := e.MatchedText != nil || e.Title != nil || e.Description != nil || len(e.JPEGThumbnail) > 0
	return e.ContextInfo, rest, true
}

// writeText is the other direction: the short form where it suffices.
func writeText(text string, info *waE2E.ContextInfo) *waE2E.Message {
	if info == nil {
		return &waE2E.Message{Conversation: proto.String(text)}
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String(text), ContextInfo: info}}
}
