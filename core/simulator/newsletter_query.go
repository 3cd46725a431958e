package simulator

import (
	"maps"
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handleNewsletter answers xmlns=newsletter: messages, what became of them, live updates.
func (s *Server) handleNewsletter(c *conn, iq *waBinary.Node) (answer []waBinary.Node, err error) {
	children := iq.GetChildren()
	if len(children) != 1 {
		return nil, errBadRequest
	}
	asked := children[0]
	jid, _ := iq.Attrs["to"].(types.JID)
	if asked.Tag == "messages" {
		jid, _ = asked.Attrs["jid"].(types.JID)
	}
	err = s.editNewsletter(jid.User, func(n *newsletter, _ *outgoing) error {
		switch asked.Tag {
		case "live_updates":
			n.live[c.dev] = s.now() + liveSeconds
			answer = []waBinary.Node{{Tag: "live_updates", Attrs: waBinary.Attrs{"duration": strconv.Itoa(liveSeconds)}}}
		case "messages":
			answer = []waBinary.Node{{
				Tag: "messages", Attrs: waBinary.Attrs{"jid": jid, "t": strconv.FormatInt(s.now(), 10)},
				Content: n.page(intAttr(&asked, "count", 50), intAttr(&asked, "before", len(n.messages)+1)),
			}}
		case "message_updates":
			answer = []waBinary.Node{{Tag: "message_updates", Content: []waBinary.Node{{
				Tag: "messages", Content: n.updates(intAttr(&asked, "count", 100), intAttr(&asked, "after", 0), int64(intAttr(&asked, "since", 0))),
			}}}}
		default:
			return errNotImplemented
		}
		return nil
	})
	return answer, err
}

func intAttr(n *waBinary.Node, name string, otherwise int) int {
	if v, err := strconv.Atoi(text(n, name)); err == nil {
		return v
	}
	return otherwise
}

// page are the newest count messages numbered below before, the oldest first.
func (n *newsletter) page(count, before int) []waBinary.Node {
	before = min(max(before, 1), len(n.messages)+1)
	out := []waBinary.Node{}
	for _, m := range n.messages[max(before-1-max(count, 0), 0) : before-1] {
		out = append(out, m.node(true))
	}
	return out
}

// updates are the counts of at most count messages numbered above after that changed since.
func (n *newsletter) updates(count, after int, since int64) []waBinary.Node {
	out := []waBinary.Node{}
	for _, m := range n.messages {
		if m.Number > after && m.Changed >= since && len(out) < count {
			out = append(out, m.node(false))
		}
	}
	return out
}

// node is a message in a list; content says whether what it says is in it
// (notification.go of whatsmeow, parseNewsletterMessages).
func (m *newsletterMessage) node(content bool) waBinary.Node {
	var children []waBinary.Node
	if content && m.Raw != nil {
		children = append(children, waBinary.Node{Tag: "plaintext", Content: m.Raw})
	}
	children = append(children, waBinary.Node{Tag: "views_count", Attrs: waBinary.Attrs{"count": strconv.Itoa(len(m.Viewers))}})
	counts := m.counts()
	reactions := []waBinary.Node{}
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		reactions = append(reactions, waBinary.Node{
			Tag: "reaction", Attrs: waBinary.Attrs{"code": code, "count": strconv.Itoa(counts[code])},
		})
	}
	children = append(children, waBinary.Node{Tag: "reactions", Content: reactions})
	return waBinary.Node{
		Tag: "message",
		Attrs: waBinary.Attrs{
			"id": m.ID, "server_id": strconv.Itoa(m.Number), "type": m.Type, "t": strconv.FormatInt(m.At, 10),
		},
		Content: children,
	}
}

// counts are how many reacted with what.
func (m *newsletterMessage) counts() map[string]int {
	out := map[string]int{}
	for _, code := range m.Reactions {
		out[code]++
	}
	return out
}
