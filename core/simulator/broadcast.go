package simulator

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// StatusChat is the chat of status updates, as phones show it and as [Phone.Send] takes it.
const StatusChat = "status@broadcast"

// handleStatusMessage routes a client's status update to those whom it lists, or, for the answer to
// a retry, to the device that asked. Whom a status goes to is the client's decision (broadcast.go
// of whatsmeow); it names people by number or by LID, as it knows them.
func (s *Server) handleStatusMessage(c *conn, chat types.JID, node *waBinary.Node) error {
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
		"class": "message", "id": text(node, "id"), "from": chat, "t": strconv.FormatInt(s.now(), 10),
	}}
	if chat != types.StatusBroadcastJID { // another list of recipients
		ack.Attrs["error"] = strconv.Itoa(errNotFound.code)
		c.push(ack)
		return nil
	}
	m := s.newMulticast(c.dev, chat, false, node)
	if asked, ok := node.Attrs["participant"].(types.JID); ok {
		if d := s.findDevice(asked); d != nil {
			m.answer(d, node)
		}
	} else {
		accounts := m.recipients()
		m.listRecipients(accounts)
		m.send(devicesOf(accounts))
	}
	if err := m.o.commit(); err != nil {
		return fmt.Errorf("route status: %w", err)
	}
	c.push(ack)
	return nil
}

// recipients are the accounts that a client listed, and its own, each once.
func (m *multicast) recipients() []*account {
	out := []*account{m.from.acct}
	for d := range m.own {
		if !slices.Contains(out, d.acct) {
			out = append(out, d.acct)
		}
	}
	return out
}

// listRecipients tells the sender's own devices whom a status goes to (parseMessageSource of whatsmeow).
func (m *multicast) listRecipients(accounts []*account) {
	var list []waBinary.Node
	for _, a := range accounts {
		if a != m.from.acct {
			list = append(list, waBinary.Node{Tag: "to", Attrs: waBinary.Attrs{
				"jid": a.as(m.byLID), "peer_recipient_lid": a.hidden(),
			}})
		}
	}
	for _, d := range m.from.acct.all() {
		m.own[d] = append(slices.Clone(m.own[d]), waBinary.Node{Tag: "participants", Content: list})
	}
}

// PostStatus shows a status update to everybody whom the phone has exchanged messages with.
// [Phone.Revoke] with [StatusChat] takes it back.
func (p *Phone) PostStatus(ctx context.Context, msg *waE2E.Message) (id string, err error) {
	return p.Send(ctx, StatusChat, msg, SendOptions{})
}
