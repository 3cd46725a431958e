package simulator

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handleUsync answers lookups of users: their devices, LID, presence on WhatsApp, and
// what their profile shows to whom asks (whatsmeow's user.go, usync).
func (s *Server) handleUsync(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	usync := iq.GetChildByTag("usync")
	query, list := usync.GetChildByTag("query"), usync.GetChildByTag("list")
	var users []waBinary.Node
	for _, asked := range list.GetChildren() {
		if asked.Tag != "user" {
			continue
		}
		if user, ok := s.lookUp(c.dev.acct, &asked, query.GetChildren()); ok {
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

// lookUp answers for one user, who is named by a JID, or by a number that may be nobody's.
func (s *Server) lookUp(by *account, asked *waBinary.Node, query []waBinary.Node) (waBinary.Node, bool) {
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
		if q.Tag == "contact" {
			in := map[bool]string{true: "in", false: "out"}[a != nil]
			content = append(content, waBinary.Node{Tag: "contact", Attrs: waBinary.Attrs{"type": in}, Content: contact})
		} else if q.Tag == "devices" {
			content = append(content, deviceList(a))
		} else if a != nil {
			content = append(content, a.lookUp(by, q.Tag)...)
		}
	}
	if content != nil {
		user.Content = content
	}
	return user, true
}

// lookUp answers one question about an account: nothing where there is nothing to say.
func (a *account) lookUp(by *account, what string) []waBinary.Node {
	rec := a.look()
	switch what {
	case "lid":
		return []waBinary.Node{{Tag: "lid", Attrs: waBinary.Attrs{"val": a.hidden()}}}
	case "status":
		if !a.shows("status", by) {
			return []waBinary.Node{{Tag: "status", Attrs: waBinary.Attrs{"code": "401", "type": "fail"}}}
		}
		return []waBinary.Node{{
			Tag: "status", Attrs: waBinary.Attrs{"t": strconv.FormatInt(rec.AboutAt, 10)}, Content: []byte(rec.About),
		}}
	case "picture":
		if rec.PictureID != "" && a.shows("profile", by) {
			return []waBinary.Node{{Tag: "picture", Attrs: waBinary.Attrs{"id": rec.PictureID}}}
		}
	case "business":
		if name, ok := a.verifiedName(); ok {
			return []waBinary.Node{{Tag: "business", Content: []waBinary.Node{name}}}
		}
	case "disappearing_mode":
		return []waBinary.Node{{Tag: "disappearing_mode", Attrs: waBinary.Attrs{
			"duration": strconv.FormatInt(rec.Timer, 10), "t": strconv.FormatInt(rec.TimerAt, 10),
		}}}
	}
	return nil
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
