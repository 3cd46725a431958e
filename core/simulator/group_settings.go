package simulator

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// timers are the times, in seconds, after which a group's messages may disappear.
func timerAllowed(seconds uint32) bool {
	return slices.Contains([]uint32{0, 86400, 7 * 86400, 90 * 86400}, seconds)
}

// setGroup changes something that everybody in the group is told: change returns what they
// are. admin is for what only admins may change, whatever the group says.
func (s *Server) setGroup(actor *account, id string, admin bool, change func(*groupEdit, *groupRecord) (waBinary.Node, error)) error {
	return s.editGroups(actor, func(e *groupEdit) error {
		g, err := e.openAs(id, admin)
		if err != nil {
			return err
		}
		if g.Locked && !g.isAdmin(actor.number) {
			return ErrNotAdmin
		}
		node, err := change(e, g)
		if err != nil {
			return err
		}
		e.notice(g, g.accounts(s), node)
		return nil
	})
}

func (s *Server) setGroupSubject(actor *account, id, subject string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	return s.setGroup(actor, id, false, func(e *groupEdit, g *groupRecord) (waBinary.Node, error) {
		g.Subject, g.SubjectBy, g.SubjectAt = subject, actor.number, e.now
		attrs := waBinary.Attrs{"subject": subject, "s_t": strconv.FormatInt(e.now, 10)}
		s.nameIn(attrs, "s_o", actor.number, g.ByLID)
		return waBinary.Node{Tag: "subject", Attrs: attrs}, nil
	})
}

// setGroupTopic changes the description; an empty one removes it. previous is the id of the one
// that it replaces: who did not see the newest may not overwrite it. anyPrevious takes
// any, as for a client that names none at all.
func (s *Server) setGroupTopic(actor *account, id, topicID, previous, topic string, anyPrevious bool) error {
	if utf8.RuneCountInString(topic) > DescriptionLimit {
		return fmt.Errorf("a group's description has at most %d characters: %w", DescriptionLimit, errNotAcceptable)
	}
	return s.setGroup(actor, id, false, func(e *groupEdit, g *groupRecord) (waBinary.Node, error) {
		if !anyPrevious && previous != g.TopicID {
			return waBinary.Node{}, fmt.Errorf("description was changed meanwhile: %w", errConflict)
		}
		node := waBinary.Node{Tag: "description", Attrs: waBinary.Attrs{"id": topicID}}
		if topic == "" {
			g.Topic, g.TopicID, g.TopicBy, g.TopicAt = "", "", "", 0
			node.Content = []waBinary.Node{{Tag: "delete"}}
			return node, nil
		}
		g.Topic, g.TopicID, g.TopicBy, g.TopicAt = topic, topicID, actor.number, e.now
		node.Content = []waBinary.Node{{Tag: "body", Content: []byte(topic)}}
		return node, nil
	})
}

// setGroupFlag changes announce and locked; tag is that of the query and of the notice.
func (s *Server) setGroupFlag(actor *account, id, tag string) error {
	return s.setGroup(actor, id, true, func(e *groupEdit, g *groupRecord) (waBinary.Node, error) {
		node := waBinary.Node{Tag: tag}
		switch tag {
		case "locked", "unlocked":
			g.Locked = tag == "locked"
		case "announcement", "not_announcement":
			g.Announce = tag == "announcement"
			g.AnnounceVersion = max(g.AnnounceVersion+1, uint64(e.now))
			node.Attrs = waBinary.Attrs{"v_id": version(g.AnnounceVersion)}
		}
		return node, nil
	})
}

// setGroupTimer makes messages disappear after so many seconds; 0 is never.
func (s *Server) setGroupTimer(actor *account, id string, seconds uint32) error {
	if !timerAllowed(seconds) {
		return fmt.Errorf("disappearing after %d seconds: %w", seconds, errBadRequest)
	}
	return s.setGroup(actor, id, false, func(_ *groupEdit, g *groupRecord) (waBinary.Node, error) {
		g.Ephemeral = seconds
		if seconds == 0 {
			return waBinary.Node{Tag: "not_ephemeral"}, nil
		}
		return waBinary.Node{Tag: "ephemeral", Attrs: waBinary.Attrs{"expiration": strconv.FormatUint(uint64(seconds), 10)}}, nil
	})
}

func (s *Server) setGroupApproval(actor *account, id string, on bool) error {
	return s.setGroup(actor, id, true, func(_ *groupEdit, g *groupRecord) (waBinary.Node, error) {
		if g.Approval = on; !on {
			g.Requests = nil
		}
		return waBinary.Node{Tag: "membership_approval_mode", Content: approvalState(on)}, nil
	})
}

func (s *Server) setGroupAddMode(actor *account, id, mode string) error {
	if mode != addByAdmins && mode != addByAll {
		return errBadRequest
	}
	return s.setGroup(actor, id, true, func(_ *groupEdit, g *groupRecord) (waBinary.Node, error) {
		g.AddMode = mode
		return waBinary.Node{Tag: "member_add_mode", Content: []byte(mode)}, nil
	})
}

// setting answers the queries that change one thing and expect no more than a result.
func (q *groupQuery) setting() ([]waBinary.Node, error) {
	content, _ := q.node.Content.([]byte)
	switch q.node.Tag {
	case "subject":
		return nil, q.s.setGroupSubject(q.actor, q.group, string(content))
	case "description":
		return nil, q.description()
	case "ephemeral":
		seconds, err := strconv.ParseUint(text(q.node, "expiration"), 10, 32)
		if err != nil || seconds == 0 {
			return nil, errBadRequest
		}
		return nil, q.s.setGroupTimer(q.actor, q.group, uint32(seconds))
	case "not_ephemeral":
		return nil, q.s.setGroupTimer(q.actor, q.group, 0)
	case "membership_approval_mode":
		join := q.node.GetChildByTag("group_join")
		return nil, q.s.setGroupApproval(q.actor, q.group, text(&join, "state") == "on")
	case "member_add_mode":
		return nil, q.s.setGroupAddMode(q.actor, q.group, string(content))
	default:
		return nil, q.s.setGroupFlag(q.actor, q.group, q.node.Tag)
	}
}

func (q *groupQuery) description() error {
	body, _ := q.node.GetChildByTag("body").Content.([]byte)
	if text(q.node, "delete") == "true" {
		body = nil
	}
	id, previous := text(q.node, "id"), text(q.node, "prev")
	if id != "" {
		return q.s.setGroupTopic(q.actor, q.group, id, previous, string(body), false)
	}
	return q.s.setGroupTopic(q.actor, q.group, newMessageID(), previous, string(body), true)
}
