package simulator

import (
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handleAck releases what a client acknowledges by name: receipts, notifications,
// and messages that it could not read.
func (s *Server) handleAck(c *conn, node *waBinary.Node) error {
	key := ackKey{class: text(node, "class"), id: text(node, "id")}
	key.from, _ = node.Attrs["to"].(types.JID)
	key.participant, _ = node.Attrs["participant"].(types.JID)
	if key.class != "message" {
		key.typ = text(node, "type")
	}
	if err := c.dev.acknowledge(key); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

// handleReceipt forwards a receipt, and releases the message that a delivery receipt
// acknowledges. The forwarded receipt is durable first: once the message is released nobody
// would send it again.
func (s *Server) handleReceipt(c *conn, node *waBinary.Node) error {
	to, ok := node.Attrs["to"].(types.JID)
	id, kind := text(node, "id"), text(node, "type")
	if !ok || id == "" {
		return fmt.Errorf("receipt without to or id")
	}
	s.stats.receipts.Add(1)
	if err := s.forwardReceipt(c.dev, to, node); err != nil {
		return fmt.Errorf("forward receipt: %w", err)
	}
	switch kind {
	case "", "inactive", "sender", "peer_msg", "hist_sync":
		key := ackKey{class: "message", id: id, from: to}
		key.participant, _ = node.Attrs["participant"].(types.JID)
		if err := c.dev.acknowledge(key); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"class": "receipt", "id": id, "from": to}}
	if kind != "" {
		ack.Attrs["type"] = kind
	}
	c.push(ack)
	return nil
}

// forwardReceipt hands a companion's receipt to the devices that it concerns: a retry, and
// the confirmation of a copy, to the one that sent the message, any other to all of the sender's.
func (s *Server) forwardReceipt(from *Device, to types.JID, node *waBinary.Node) error {
	if to.Server == types.GroupServer || to.Server == types.BroadcastServer {
		return s.forwardGroupReceipt(from, to, node)
	}
	if to.Server == types.NewsletterServer {
		return s.takeNewsletterReceipt(from, to, node)
	}
	kind := text(node, "type")
	target := s.findAccount(to)
	if kind == "server-error" && target == from.acct {
		return target.phone.takeMediaRetry(from, node)
	}
	if target == nil || kind == "peer_msg" || kind == "hist_sync" || kind == "read-self" {
		return nil
	}
	devices := target.all()
	if kind == "retry" || kind == "sender" {
		d := target.device(to.Device)
		if d == nil {
			return nil
		}
		devices = []*Device{d}
	}
	attrs := waBinary.Attrs{
		"from": from.as(to.Server == types.HiddenUserServer), "id": node.Attrs["id"],
		"t": strconv.FormatInt(s.now(), 10),
	}
	for _, name := range []string{"type", "recipient", "participant", "category"} {
		if v, ok := node.Attrs[name]; ok {
			attrs[name] = v
		}
	}
	out := waBinary.Node{Tag: "receipt", Attrs: attrs}
	if node.Content != nil {
		out.Content = node.Content
	}
	o := s.outgoing(s.begin())
	for _, d := range devices {
		switch {
		case d == from:
		case d.id == 0:
			if err := d.acct.phone.takeReceipt(from, &out); err != nil {
				return err
			}
		default:
			o.add(d, out)
		}
	}
	return o.commit()
}
