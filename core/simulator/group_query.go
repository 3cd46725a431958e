package simulator

import (
	"maps"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// groupQuery is one query of xmlns=w:g2.
type groupQuery struct {
	s     *Server
	actor *account
	group string // the id of the group that it is to; empty for g.us itself
	set   bool
	node  *waBinary.Node // its first child, which says what is asked
}

// groupTable is where a query about groups is added: "get" or "set", and the tag.
func (q *groupQuery) table() map[string]func() ([]waBinary.Node, error) {
	return map[string]func() ([]waBinary.Node, error){
		"get participating":                q.participating,
		"get query":                        q.info,
		"get invite":                       q.inviteLink,
		"set invite":                       q.inviteLink,
		"set accept":                       q.accept,
		"set create":                       q.create,
		"set leave":                        q.leaveAll,
		"set add":                          q.members,
		"set remove":                       q.members,
		"set promote":                      q.members,
		"set demote":                       q.members,
		"set subject":                      q.setting,
		"set description":                  q.setting,
		"set locked":                       q.setting,
		"set unlocked":                     q.setting,
		"set announcement":                 q.setting,
		"set not_announcement":             q.setting,
		"set ephemeral":                    q.setting,
		"set not_ephemeral":                q.setting,
		"set membership_approval_mode":     q.setting,
		"set member_add_mode":              q.setting,
		"get membership_approval_requests": q.requests,
		"set membership_requests_action":   q.decide,
		"set links":                        q.link,
		"set unlink":                       q.unlink,
		"get pictures":                     q.pictures,
		"get sub_groups":                   q.subGroups,
		"get linked_groups_participants":   q.linkedParticipants,
	}
}

func (s *Server) handleGroups(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	children := iq.GetChildren()
	to, ok := iq.Attrs["to"].(types.JID)
	if len(children) == 0 || !ok {
		return nil, errBadRequest
	}
	q := &groupQuery{s: s, actor: c.dev.acct, group: to.User, set: iq.Attrs["type"] == "set", node: &children[0]}
	answer := q.table()[text(iq, "type")+" "+q.node.Tag]
	if answer == nil {
		return nil, errNotImplemented
	}
	return answer()
}

// info answers <query>, to members and to those with an invitation. Who is in the group gets
// its members; anybody else gets 403, as whatsmeow's ErrNotInGroup says.
func (q *groupQuery) info() ([]waBinary.Node, error) {
	var out waBinary.Node
	err := q.s.viewGroup(q.group, func(g *groupRecord) error {
		member := g.member(q.actor.number) != nil
		if asked, ok := q.node.GetOptionalChildByTag("add_request"); ok {
			if err := g.invitation(q.actor.number, text(&asked, "code"), q.s.now()); err != nil {
				return err
			}
		} else if !member {
			return errForbidden
		}
		out = g.node(q.s, member)
		return nil
	})
	return []waBinary.Node{out}, err
}

// participating answers with all groups that the account is in.
func (q *groupQuery) participating() ([]waBinary.Node, error) {
	q.s.groups.mu.RLock()
	defer q.s.groups.mu.RUnlock()
	list := []waBinary.Node{}
	for _, id := range slices.Sorted(maps.Keys(q.s.groups.byID)) {
		if g := q.s.groups.byID[id]; g.member(q.actor.number) != nil {
			list = append(list, g.node(q.s, true))
		}
	}
	return []waBinary.Node{{Tag: "groups", Content: list}}, nil
}
