package simulator

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// How groups look on the wire; whatsmeow's group.go parses it (parseGroupNode).

// node is the whole group; members says whether to list them.
func (g *groupRecord) node(s *Server, members bool) waBinary.Node {
	attrs := waBinary.Attrs{
		"id": g.ID, "subject": g.Subject, "creation": strconv.FormatInt(g.Created, 10),
		"s_t": strconv.FormatInt(g.SubjectAt, 10), "size": strconv.Itoa(len(g.Members)),
		"addressing_mode": addressingMode(g.ByLID), "p_v_id": version(g.Version),
		"a_v_id": version(g.AnnounceVersion),
	}
	s.nameIn(attrs, "creator", g.Creator, g.ByLID)
	s.nameIn(attrs, "s_o", g.SubjectBy, g.ByLID)
	content := g.settings(s)
	if members {
		for _, m := range g.Members {
			if a := s.account(m.Number); a != nil {
				content = append(content, g.participant(a, m.Role))
			}
		}
	}
	return waBinary.Node{Tag: "group", Attrs: attrs, Content: content}
}

// settings are the children of a group that are there when something is so.
func (g *groupRecord) settings(s *Server) []waBinary.Node {
	var out []waBinary.Node
	flag := func(tag string, on bool, attrs waBinary.Attrs, content any) {
		if on {
			out = append(out, waBinary.Node{Tag: tag, Attrs: attrs, Content: content})
		}
	}
	if g.Topic != "" {
		attrs := waBinary.Attrs{"id": g.TopicID, "t": strconv.FormatInt(g.TopicAt, 10)}
		s.nameIn(attrs, "participant", g.TopicBy, g.ByLID)
		flag("description", true, attrs, []waBinary.Node{{Tag: "body", Content: []byte(g.Topic)}})
	}
	flag("announcement", g.Announce, nil, nil)
	flag("locked", g.Locked, nil, nil)
	flag("ephemeral", g.Ephemeral > 0, waBinary.Attrs{"expiration": strconv.FormatUint(uint64(g.Ephemeral), 10)}, nil)
	flag("membership_approval_mode", g.Approval, nil, approvalState(true))
	flag("member_add_mode", true, nil, []byte(g.AddMode))
	flag("parent", g.Parent, waBinary.Attrs{"default_membership_approval_mode": g.DefaultApproval}, nil)
	if g.Linked != "" {
		flag("linked_parent", true, waBinary.Attrs{"jid": groupJID(g.Linked)}, nil)
	}
	flag("default_sub_group", g.DefaultSub, nil, nil)
	return out
}

func approvalState(on bool) []waBinary.Node {
	state := map[bool]string{true: "on", false: "off"}[on]
	return []waBinary.Node{{Tag: "group_join", Attrs: waBinary.Attrs{"state": state}}}
}

// nameIn puts both names of a number into attrs: key, and key_pn for a hidden one.
func (s *Server) nameIn(attrs waBinary.Attrs, key, number string, byLID bool) {
	a := s.account(number)
	if a == nil {
		return
	}
	attrs[key] = a.as(byLID)
	if byLID {
		attrs[key+"_pn"] = a.pn()
	}
}

// participant names somebody in a list of the group.
func (g *groupRecord) participant(a *account, role string) waBinary.Node {
	attrs := waBinary.Attrs{"jid": a.as(g.ByLID)}
	if g.ByLID {
		attrs["phone_number"] = a.pn()
	} else {
		attrs["lid"] = a.hidden()
	}
	if role != "" {
		attrs["type"] = role
	}
	return waBinary.Node{Tag: "participant", Attrs: attrs}
}

// target is the short form of a group inside another one (parseGroupLinkTargetNode).
func (g *groupRecord) target() waBinary.Node {
	n := waBinary.Node{Tag: "group", Attrs: waBinary.Attrs{
		"jid": g.jid(), "id": g.ID, "subject": g.Subject, "s_t": strconv.FormatInt(g.SubjectAt, 10),
	}}
	if g.DefaultSub {
		n.Content = []waBinary.Node{{Tag: "default_sub_group"}}
	}
	return n
}

func version(v uint64) string { return strconv.FormatUint(v, 10) }
