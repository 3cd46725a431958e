package simulator

import (
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handleMessage routes what a companion sends: to each device that it encrypted
// for, or, with a bare <enc>, to the one device that it names.
func (s *Server) handleMessage(c *conn, node *waBinary.Node) error {
	s.stats.messages.Add(1)
	to, ok := node.Attrs["to"].(types.JID)
	id := text(node, "id")
	if !ok || id == "" {
		return fmt.Errorf("message without to or id")
	}
	switch to.Server {
	case types.GroupServer:
		return s.handleGroupMessage(c, to, node)
	case types.BroadcastServer:
		return s.handleStatusMessage(c, to, node)
	case types.NewsletterServer:
		return s.handleNewsletterMessage(c, to, node)
	}
	target := s.findAccount(to)
	o := s.outgoing(s.begin())
	route := &routing{s: s, o: o, from: c.dev, to: to, target: target, node: node, id: id, t: strconv.FormatInt(s.now(), 10)}
	complete := true
	if participants, ok := node.GetOptionalChildByTag("participants"); ok {
		complete = route.fanOut(participants.GetChildren())
	} else if d := s.findDevice(to); d != nil {
		for _, child := range node.GetChildren() {
			if child.Tag == "enc" {
				route.send(d, &child)
			}
		}
	}
	if target != nil {
		c.dev.acct.meet(target, o.b)
	}
	if err := o.commit(); err != nil {
		return fmt.Errorf("route message: %w", err)
	}
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"class": "message", "id": id, "from": to, "t": route.t}}
	if !complete {
		ack.Attrs["phash"] = devicesHash(route.expected) // makes the client ask for the devices again
	}
	c.push(ack)
	return nil
}

// routing is one message on its way from a companion.
type routing struct {
	s        *Server
	o        *outgoing
	from     *Device
	to       types.JID
	target   *account
	node     *waBinary.Node
	id, t    string
	expected []types.JID
}

// fanOut sends each participant its ciphertext, and says whether every device was thought of.
func (r *routing) fanOut(list []waBinary.Node) bool {
	reached := map[*Device]bool{r.from: true}
	for _, p := range list {
		jid, _ := p.Attrs["jid"].(types.JID)
		enc, ok := p.GetOptionalChildByTag("enc")
		d := r.s.findDevice(jid)
		if !ok || d == nil || reached[d] || d.acct != r.from.acct && d.acct != r.target {
			continue
		}
		reached[d] = true
		if d.acct.blocks(r.from.acct) {
			continue // the sender is not told
		}
		r.send(d, &enc)
	}
	complete := true
	accounts := []*account{r.from.acct}
	if r.target != nil && r.target != r.from.acct {
		accounts = append(accounts, r.target)
	}
	for _, a := range accounts {
		for _, d := range a.all() {
			r.expected = append(r.expected, d.as(r.to.Server == types.HiddenUserServer))
			complete = complete && reached[d]
		}
	}
	return complete
}

// send queues the stanza that d gets.
func (r *routing) send(d *Device, enc *waBinary.Node) {
	if kind := text(enc, "type"); kind != "msg" && kind != "pkmsg" {
		r.s.violate("a client's message is not encrypted", "%s: message %s, type %q", r.from.JID(), r.id, kind)
		return // "plain" is what phones say among themselves
	}
	if ciphertext, ok := enc.Content.([]byte); ok {
		r.s.watchCipher(r.from, d, r.id, ciphertext)
	}
	hidden := r.to.Server == types.HiddenUserServer
	attrs := messageAttrs(r.from, hidden, r.id, r.t, text(r.node, "type"))
	for _, name := range routedAttrs() {
		if v := text(r.node, name); v != "" {
			attrs[name] = v
		}
	}
	if d.acct == r.from.acct {
		chat := r.to.ToNonAD()
		if recipient, ok := r.node.Attrs["recipient"].(types.JID); ok { // a retry names the chat apart
			chat = recipient
		}
		if text(r.node, "category") != "peer" {
			setRecipient(attrs, chat, r.s.findAccount(chat))
		}
	}
	content := []waBinary.Node{*enc}
	for _, child := range r.node.GetChildren() {
		switch child.Tag {
		case "device-identity":
			if text(enc, "type") == "pkmsg" {
				content = append(content, child)
			}
		case "meta", "biz":
			content = append(content, child)
		}
	}
	if name, ok := r.from.acct.verifiedName(); ok && d.acct != r.from.acct {
		content = append(content, name)
	}
	r.o.add(d, waBinary.Node{Tag: "message", Attrs: attrs, Content: content})
}

// messageAttrs are the attributes of a message that comes from a device. Both of the
// sender's addresses are always there: clients move their sessions from one to the other.
func messageAttrs(from *Device, hidden bool, id, t, kind string) waBinary.Attrs {
	alt := "sender_lid"
	if hidden {
		alt = "sender_pn"
	}
	if kind == "" {
		kind = "text"
	}
	return waBinary.Attrs{
		"from": from.as(hidden), alt: from.as(!hidden).ToNonAD(), "id": id, "t": t, "type": kind,
		"notify": from.acct.pushName(),
	}
}

// setRecipient names the chat of a message that goes to the sender's own devices.
func setRecipient(attrs waBinary.Attrs, chat types.JID, a *account) {
	attrs["recipient"] = chat
	if a == nil {
		return
	}
	if chat.Server == types.HiddenUserServer {
		attrs["peer_recipient_pn"] = a.pn()
	} else {
		attrs["peer_recipient_lid"] = a.hidden()
	}
}
