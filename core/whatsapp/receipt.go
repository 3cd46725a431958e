package whatsapp

import (
	"context"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/sdk"
)

// receiptDelivered is our word where WhatsApp's is the empty one.
const receiptDelivered = "delivered"

// receipt converts every receipt that is about messages. Those of the account's own
// phone about peer messages and history are the protocol's: no event.
func (c *converter) receipt(ctx context.Context, evt *events.Receipt) (*sdk.Event, error) {
	if evt.Type == types.ReceiptTypePeerMsg || evt.Type == types.ReceiptTypeHistorySync || len(evt.MessageIDs) == 0 {
		return nil, nil
	}
	s, err := c.source(ctx, &evt.MessageSource)
	if err != nil {
		return nil, err
	}
	kind := string(evt.Type)
	if evt.Type == types.ReceiptTypeDelivered {
		kind = receiptDelivered
	}
	return &sdk.Event{
		Type: sdk.TypeReceipt, Account: c.account, Chat: s.chat, ChatAlt: s.chatAlt, WAID: evt.MessageIDs[0],
		Time: evt.Timestamp.UTC(),
		Receipt: &sdk.Receipt{
			Kind: kind, MessageIDs: evt.MessageIDs, From: s.senderName,
			Device: int(evt.Sender.Device), FromMe: evt.IsFromMe,
		},
	}, nil
}
