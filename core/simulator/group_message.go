package simulator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// multicast is one message on its way to many devices: one <enc type=skmsg> for all, and
// for each device the sender key that opens it, if the sender thinks that the device lacks it
// (send.go's sendGroup). A device that has it, and one that was left out, gets the first alone.
type multicast struct {
	s      *Server
	o      *outgoing
	chat   types.JID // a group, or status@broadcast
	byLID  bool
	mode   bool // say which kind of name is used: in groups, not in the status
	from   *Device
	id, t  string
	kind   string // the type attribute
	pass   waBinary.Attrs
	shared []waBinary.Node // what every device gets, the skmsg among it
	own    map[*Device][]waBinary.Node
}

// routedAttrs are the attributes of a message that recipients get as the sender gave them.
func routedAttrs() []string { return []string{"edit", "category", "push_priority"} }

// newMulticast reads a client's message to a chat with many devices.
func (s *Server) newMulticast(from *Device, chat types.JID, byLID bool, node *waBinary.Node) *multicast {
	m := &multicast{
		s: s, o: s.outgoing(s.begin()), chat: chat, byLID: byLID, mode: chat.Server == types.GroupServer,
		from: from, id: text(node, "id"), t: strconv.FormatInt(s.now(), 10), kind: text(node, "type"),
		pass: waBinary.Attrs{}, own: map[*Device][]waBinary.Node{},
	}
	for _, name := range routedAttrs() {
		if v := text(node, name); v != "" {
			m.pass[name] = v
		}
	}
	var identity []waBinary.Node
	if n, ok := node.GetOptionalChildByTag("device-identity"); ok {
		identity = append(identity, n)
	}
	for _, child := range node.GetChildren() {
		switch child.Tag {
		case "participants":
			for _, to := range child.GetChildren() {
				jid, _ := to.Attrs["jid"].(types.JID)
				enc, ok := to.GetOptionalChildByTag("enc")
				d := s.findDevice(jid)
				if d == nil || !ok {
					continue
				}
				m.own[d] = []waBinary.Node{enc}
				if text(&enc, "type") == "pkmsg" {
					m.own[d] = append(m.own[d], identity...)
				}
			}
		case "enc", "meta", "biz":
			m.shared = append(m.shared, child)
		}
	}
	return m
}

// send queues the message for devices, the sender's excepted.
func (m *multicast) send(devices []*Device) {
	for _, n := range m.shared {
		if raw, ok := n.Content.([]byte); ok && text(&n, "type") == "skmsg" {
			m.s.watchSenderKey(m.from, m.chat, m.id, raw)
		}
	}
	for _, d := range devices {
		if d != m.from {
			m.sendOne(d, append(slices.Clone(m.own[d]), m.shared...))
		}
	}
}

// sendOne queues the message for one device.
func (m *multicast) sendOne(d *Device, content []waBinary.Node) {
	for _, n := range content {
		if kind := text(&n, "type"); n.Tag == "enc" && (kind == "msg" || kind == "pkmsg") {
			if raw, ok := n.Content.([]byte); ok {
				m.s.watchCipher(m.from, d, m.id, raw)
			}
		}
	}
	m.o.add(d, waBinary.Node{Tag: "message", Attrs: m.attrs(), Content: content})
}

func (m *multicast) attrs() waBinary.Attrs {
	kind := m.kind
	if kind == "" {
		kind = "text"
	}
	attrs := waBinary.Attrs{
		"from": m.chat, "participant": m.from.as(m.byLID), "id": m.id, "t": m.t, "type": kind,
		"notify": m.from.acct.pushName(), altParticipant(m.byLID): m.from.as(!m.byLID).ToNonAD(),
	}
	if m.mode {
		attrs["addressing_mode"] = addressingMode(m.byLID)
	}
	maps.Copy(attrs, m.pass)
	return attrs
}

// hash is the hash of the devices, by which the sender notices that it knows others.
func (m *multicast) hash(devices []*Device) string {
	names := make([]types.JID, len(devices))
	for i, d := range devices {
		names[i] = d.as(m.byLID)
	}
	return devicesHash(names)
}

// devicesOf returns the devices of accounts.
func devicesOf(accounts []*account) []*Device {
	var out []*Device
	for _, a := range accounts {
		out = append(out, a.all()...)
	}
	return out
}

// handleGroupMessage routes a client's message to a group: to all, or, for the answer to a
// retry, to the device that asked.
func (s *Server) handleGroupMessage(c *conn, chat types.JID, node *waBinary.Node) error {
	s.groups.mu.RLock()
	defer s.groups.mu.RUnlock()
	g := s.groups.byID[chat.User]
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
		"class": "message", "id": text(node, "id"), "from": chat, "t": strconv.FormatInt(s.now(), 10),
	}}
	if refused := g.refuses(c.dev.acct, text(node, "type"), text(node, "edit")); refused != nil {
		ack.Attrs["error"] = strconv.Itoa(codeOf(refused))
		c.push(ack)
		return nil
	}
	m := s.newMulticast(c.dev, chat, g.ByLID, node)
	devices := devicesOf(g.accounts(s))
	if asked, ok := node.Attrs["participant"].(types.JID); ok {
		if d := s.findDevice(asked); d != nil && slices.Contains(devices, d) {
			m.answer(d, node)
		}
	} else {
		m.send(devices)
		if hash := m.hash(devices); text(node, "phash") != hash {
			ack.Attrs["phash"] = hash // makes the client ask for the members again
		}
	}
	if err := m.o.commit(); err != nil {
		return fmt.Errorf("route group message: %w", err)
	}
	c.push(ack)
	return nil
}

// answer queues the answer to a retry: encrypted for one device.
func (m *multicast) answer(d *Device, node *waBinary.Node) {
	content := m.shared
	if n, ok := node.GetOptionalChildByTag("device-identity"); ok {
		content = append(slices.Clone(content), n)
	}
	m.sendOne(d, content)
}

// refuses says why a message of an account does not go to the group, nil for it does. In
// a group where only admins write, others may still react; a revoke of what somebody
// else wrote is an admin's.
func (g *groupRecord) refuses(a *account, kind, edit string) error {
	switch {
	case g == nil:
		return ErrUnknownGroup
	case g.member(a.number) == nil:
		return ErrNotMember
	case g.isAdmin(a.number):
		return nil
	case g.Announce && kind != "reaction", edit == string(types.EditAttributeAdminRevoke):
		return ErrNotAdmin
	}
	return nil
}

// forwardGroupReceipt hands a receipt for a message of a group, or of a status, to the devices
// of who wrote it; a retry, and the confirmation of an own message, to the one that sent it.
func (s *Server) forwardGroupReceipt(from *Device, chat types.JID, node *waBinary.Node) error {
	author, ok := node.Attrs["participant"].(types.JID)
	kind := text(node, "type")
	target := s.findAccount(author)
	if !ok || target == nil || kind == "read-self" {
		return nil
	}
	devices := target.all()
	if kind == "retry" || kind == "sender" {
		d := target.device(author.Device)
		if d == nil {
			return nil
		}
		devices = []*Device{d}
	}
	out := groupReceipt(from, chat, isHidden(author), text(node, "id"), kind, strconv.FormatInt(s.now(), 10))
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

// groupReceipt is a receipt of a device for a message in a chat with many.
func groupReceipt(from *Device, chat types.JID, byLID bool, id, kind, t string) waBinary.Node {
	attrs := waBinary.Attrs{
		"from": chat, "participant": from.as(byLID), altParticipant(byLID): from.as(!byLID), "id": id, "t": t,
	}
	if chat.Server == types.GroupServer {
		attrs["addressing_mode"] = addressingMode(byLID)
	}
	if kind != "" {
		attrs["type"] = kind
	}
	return waBinary.Node{Tag: "receipt", Attrs: attrs}
}
