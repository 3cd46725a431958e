package simulator

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handlePassive begins or ends the delivery of a device's queue.
func (s *Server) handlePassive(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	switch {
	case hasChild(iq, "active"):
		c.afterAnswer = func() { c.dev.activate(c) }
	case hasChild(iq, "passive"):
		c.dev.passivate(c)
	default:
		return nil, errBadRequest
	}
	return nil, nil
}

// handleMultiDevice logs a companion out.
func (s *Server) handleMultiDevice(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	remove, ok := iq.GetOptionalChildByTag("remove-companion-device")
	if !ok {
		return nil, errNotImplemented
	}
	jid, _ := remove.Attrs["jid"].(types.JID)
	if d := s.findDevice(jid); d != c.dev {
		return nil, errNotAcceptable
	}
	d := c.dev
	c.afterAnswer = func() {
		if err := d.remove(func(c *conn) { c.end(false) }); err != nil {
			s.log.Error("log out device", "err", err)
		}
	}
	return nil, nil
}

// handleUsync answers lookups of users: their devices, LID, presence on WhatsApp.
func (s *Server) handleUsync(_ *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	usync := iq.GetChildByTag("usync")
	query, list := usync.GetChildByTag("query"), usync.GetChildByTag("list")
	var users []waBinary.Node
	for _, asked := range list.GetChildren() {
		if asked.Tag != "user" {
			continue
		}
		if user, ok := s.lookUp(&asked, query.GetChildren()); ok {
			users = append(users, user)
		}
	}
	return []waBinary.Node{{
		Tag:   "usync",
		Attrs: waBinary.Attrs{"sid": text(&usync, "sid"), "mode": text(&usync, "mode"), "last": "true", "index": "0"},
		Content: []waBinary.Node{
			{Tag: "result", Content: query.GetChildren()},
			{Tag: "list", Content: users},
		},
	}}, nil
}

func (s *Server) lookUp(asked *waBinary.Node, query []waBinary.Node) (waBinary.Node, bool) {
	jid, ok := asked.Attrs["jid"].(types.JID)
	contact, _ := asked.GetChildByTag("contact").Content.([]byte)
	if !ok {
		parsed, err := types.ParseJID(string(contact))
		if err != nil || parsed.User == "" && parsed.Server == "" {
			return waBinary.Node{}, false
		}
		if parsed.User == "" { // a bare number
			parsed = types.NewJID(parsed.Server, types.LegacyUserServer)
		}
		jid = parsed
	}
	a := s.findAccount(jid)
	if !ok {
		number, err := cleanNumber(jid.User)
		if err != nil {
			number = jid.User
		}
		jid = types.NewJID(number, types.DefaultUserServer)
	}
	user := waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": jid}}
	var content []waBinary.Node
	for _, q := range query {
		switch q.Tag {
		case "devices":
			content = append(content, deviceList(a))
		case "lid":
			if a != nil {
				content = append(content, waBinary.Node{Tag: "lid", Attrs: waBinary.Attrs{"val": a.hidden()}})
			}
		case "contact":
			in := map[bool]string{true: "in", false: "out"}[a != nil]
			content = append(content, waBinary.Node{Tag: "contact", Attrs: waBinary.Attrs{"type": in}, Content: contact})
		case "status":
			if a != nil {
				content = append(content, waBinary.Node{Tag: "status", Attrs: waBinary.Attrs{"t": "0"}, Content: []byte{}})
			}
		}
	}
	if content != nil {
		user.Content = content
	}
	return user, true
}

func deviceList(a *account) waBinary.Node {
	devices := []waBinary.Node{}
	if a != nil {
		for _, d := range a.all() {
			n := waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"id": strconv.Itoa(int(d.id))}}
			if d.id != 0 {
				n.Attrs["key-index"] = strconv.FormatUint(uint64(d.rec.KeyIndex), 10)
			}
			devices = append(devices, n)
		}
	}
	return waBinary.Node{Tag: "devices", Content: []waBinary.Node{{Tag: "device-list", Content: devices}}}
}

func handlePrivacy(_ *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	if iq.Attrs["type"] == "set" {
		return nil, nil
	}
	var content []waBinary.Node
	for _, name := range []string{"groupadd", "last", "status", "profile", "readreceipts", "online", "calladd"} {
		content = append(content, waBinary.Node{Tag: "category", Attrs: waBinary.Attrs{"name": name, "value": "all"}})
	}
	return []waBinary.Node{{Tag: "privacy", Content: content}}, nil
}

// handleAppState answers with empty collections: nothing has been synced yet.
func handleAppState(_ *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	sync := iq.GetChildByTag("sync")
	var content []waBinary.Node
	for _, c := range sync.GetChildren() {
		if hasChild(&c, "patch") {
			return nil, errNotImplemented
		}
		content = append(content, waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": text(&c, "name"), "version": "0"}})
	}
	return []waBinary.Node{{Tag: "sync", Content: content}}, nil
}

func handleBlocklist(*conn, *waBinary.Node) ([]waBinary.Node, error) {
	return []waBinary.Node{{Tag: "list", Attrs: waBinary.Attrs{"dhash": "0"}}}, nil
}

// handlePresence takes the name that a client gives itself.
func (s *Server) handlePresence(c *conn, node *waBinary.Node) error {
	name := text(node, "name")
	if name == "" || name == c.dev.acct.pushName() {
		return nil
	}
	a := c.dev.acct
	a.mu.Lock()
	defer a.mu.Unlock()
	a.name, a.record.Name = name, name
	b := s.begin()
	b.putJSON("a/"+a.number, a.record)
	return s.journal.commit(b)
}

// handleChatState forwards "typing" to whoever is connected. It is never queued.
func (s *Server) handleChatState(c *conn, node *waBinary.Node) error {
	to, _ := node.Attrs["to"].(types.JID)
	a := s.findAccount(to)
	if a == nil {
		return nil
	}
	hidden := to.Server == types.HiddenUserServer
	for _, d := range a.all() {
		if peer := d.connection(); peer != nil {
			peer.push(waBinary.Node{
				Tag: "chatstate", Attrs: waBinary.Attrs{"from": c.dev.as(hidden).ToNonAD()}, Content: node.Content,
			})
		}
	}
	return nil
}
