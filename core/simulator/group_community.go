package simulator

import (
	"maps"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// linkGroup makes a group part of a community, or takes it out. The actor is an admin of both;
// who is in the group comes into the community and its announcements.
func (s *Server) linkGroup(actor *account, parentID, childID string, link bool) error {
	return s.editGroups(actor, func(e *groupEdit) error {
		parent, err := e.openAs(parentID, true)
		if err != nil {
			return err
		}
		child, err := e.openAs(childID, true)
		if err != nil {
			return err
		}
		if !parent.Parent || child.Parent || child.DefaultSub || (child.Linked != "") == link {
			return errNotAcceptable
		}
		if !link {
			if child.Linked != parent.ID {
				return errNotFound
			}
			child.Linked = ""
			e.notice(parent, parent.accounts(s), linkNotice("unlink", "sub_group", child))
			e.notice(child, child.accounts(s), linkNotice("unlink", "parent_group", parent))
			return nil
		}
		child.Linked = parent.ID
		for _, id := range []string{parent.ID, s.announcementsOf(parent.ID)} {
			if err = e.admit(id, child.accounts(s)); err != nil {
				return err
			}
		}
		e.notice(parent, parent.accounts(s), linkNotice("link", "sub_group", child))
		e.notice(child, child.accounts(s), linkNotice("link", "parent_group", parent))
		return nil
	})
}

// admit adds those who are not in a group yet.
func (e *groupEdit) admit(id string, who []*account) error {
	g, err := e.open(id)
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(who), func(a *account) bool { return g.member(a.number) != nil })
	if len(missing) > 0 {
		e.join(g, "", missing...)
	}
	return nil
}

// announcementsOf is the id of a community's announcements; the book's lock is held.
func (s *Server) announcementsOf(parent string) string {
	for id, g := range s.groups.byID {
		if g.Linked == parent && g.DefaultSub {
			return id
		}
	}
	return ""
}

func linkNotice(tag, kind string, g *groupRecord) waBinary.Node {
	n := waBinary.Node{Tag: tag, Attrs: waBinary.Attrs{tag + "_type": kind}, Content: []waBinary.Node{g.target()}}
	if tag == "unlink" {
		n.Attrs["unlink_reason"] = string(types.GroupUnlinkReasonDefault)
	}
	return n
}

// subGroups returns the groups of a community, for a member; the book's lock is held.
func (q *groupQuery) groupsOf(parent *groupRecord) ([]*groupRecord, error) {
	if parent.member(q.actor.number) == nil {
		return nil, errForbidden
	}
	var out []*groupRecord
	for _, id := range slices.Sorted(maps.Keys(q.s.groups.byID)) {
		if g := q.s.groups.byID[id]; g.Linked == parent.ID {
			out = append(out, g)
		}
	}
	return out, nil
}

func (q *groupQuery) subGroups() ([]waBinary.Node, error) {
	list := []waBinary.Node{}
	err := q.s.viewGroup(q.group, func(parent *groupRecord) error {
		groups, err := q.groupsOf(parent)
		for _, g := range groups {
			list = append(list, g.target())
		}
		return err
	})
	return []waBinary.Node{{Tag: "sub_groups", Content: list}}, err
}

func (q *groupQuery) linkedParticipants() ([]waBinary.Node, error) {
	list := []waBinary.Node{}
	err := q.s.viewGroup(q.group, func(parent *groupRecord) error {
		groups, err := q.groupsOf(parent)
		seen := map[*account]bool{}
		for _, g := range groups {
			for _, a := range g.accounts(q.s) {
				if !seen[a] {
					seen[a] = true
					list = append(list, parent.participant(a, ""))
				}
			}
		}
		return err
	})
	return []waBinary.Node{{Tag: "linked_groups_participants", Content: list}}, err
}

// link answers <links>, and unlink its opposite.
func (q *groupQuery) link() ([]waBinary.Node, error) {
	link := q.node.GetChildByTag("link")
	return nil, q.linkAll(&link, true)
}

func (q *groupQuery) unlink() ([]waBinary.Node, error) { return nil, q.linkAll(q.node, false) }

func (q *groupQuery) linkAll(n *waBinary.Node, link bool) error {
	for _, child := range n.GetChildrenByTag("group") {
		jid, _ := child.Attrs["jid"].(types.JID)
		if err := q.s.linkGroup(q.actor, q.group, jid.User, link); err != nil {
			return err
		}
	}
	return nil
}
