package simulator

import (
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// inviteDays is how long an invitation of one number is good for.
const inviteDays = 3

// memberResult is what became of one participant of a change; code 0 is success.
type memberResult struct {
	a      *account
	code   int
	invite *groupInvite // instead of adding somebody who may not be added
}

// changeMembers adds, removes, promotes or demotes; action is the name that whatsmeow gives it.
func (s *Server) changeMembers(actor *account, id, action string, who []*account) (g *groupRecord, results []memberResult, err error) {
	err = s.editGroups(actor, func(e *groupEdit) error {
		if g, err = e.openAs(id, false); err != nil {
			return err
		}
		if !g.isAdmin(actor.number) && (action != "add" || g.AddMode == addByAdmins) {
			return ErrNotAdmin
		}
		results = e.changeMembers(g, action, who)
		return nil
	})
	return g, results, err
}

func (e *groupEdit) changeMembers(g *groupRecord, action string, who []*account) []memberResult {
	results := make([]memberResult, 0, len(who))
	var done []*account
	for _, a := range who {
		r := memberResult{a: a}
		m := g.member(a.number)
		if slices.Contains(done, a) { // named twice, by number and by LID perhaps
			continue
		}
		switch {
		case action == "add" && m != nil:
			r.code = errConflict.code
		case action == "add" && !a.mayBeAdded(e.actor):
			r.code, r.invite = errForbidden.code, e.invite(g, a)
		case action != "add" && m == nil:
			r.code = errNotFound.code
		case (action == "remove" || action == "demote") && m.Role == roleSuperAdmin:
			r.code = errNotAcceptable.code
		default:
			done = append(done, a)
		}
		results = append(results, r)
	}
	switch {
	case len(done) == 0:
	case action == "add":
		e.join(g, "", done...)
	case action == "remove":
		e.leave(g, done...)
	default:
		role := map[string]string{"promote": roleAdmin, "demote": ""}[action]
		for _, a := range done {
			if m := g.member(a.number); m.Role != roleSuperAdmin {
				m.Role = role
			}
		}
		e.notice(g, g.accounts(e.s), e.memberChange(g, action, done, nil))
	}
	return results
}

// join adds members: those who are in it are told who came, those who came get the whole
// group. reason is "invite" for a link.
func (e *groupEdit) join(g *groupRecord, reason string, who ...*account) {
	before := g.accounts(e.s)
	for _, a := range who {
		g.Members = append(g.Members, groupMember{Number: a.number})
		g.Requests = slices.DeleteFunc(g.Requests, func(r groupJoinRequest) bool { return r.Number == a.number })
		g.Invites = slices.DeleteFunc(g.Invites, func(i groupInvite) bool { return i.Number == a.number })
	}
	var attrs waBinary.Attrs
	if reason != "" {
		attrs = waBinary.Attrs{"reason": reason}
	}
	e.notice(g, before, e.memberChange(g, "add", who, attrs))
	create := waBinary.Node{Tag: "create", Attrs: waBinary.Attrs{}, Content: []waBinary.Node{g.node(e.s, true)}}
	if reason != "" {
		create.Attrs["reason"] = reason
	}
	e.notice(g, who, create)
}

// leave takes members out; everybody who was in it is told. A group that has lost its last
// admin gets the oldest member as its new one.
func (e *groupEdit) leave(g *groupRecord, who ...*account) {
	before := g.accounts(e.s)
	g.Members = slices.DeleteFunc(g.Members, func(m groupMember) bool {
		return slices.ContainsFunc(who, func(a *account) bool { return a.number == m.Number })
	})
	e.notice(g, before, e.memberChange(g, "remove", who, nil))
	if len(g.Members) == 0 || slices.ContainsFunc(g.Members, func(m groupMember) bool { return m.Role != "" }) {
		return
	}
	g.Members[0].Role = roleAdmin
	if heir := e.s.account(g.Members[0].Number); heir != nil {
		e.notice(g, g.accounts(e.s), e.memberChange(g, "promote", []*account{heir}, nil))
	}
}

// memberChange is the child of a notice that lists members; it raises the list's version.
func (e *groupEdit) memberChange(g *groupRecord, action string, who []*account, attrs waBinary.Attrs) waBinary.Node {
	if attrs == nil {
		attrs = waBinary.Attrs{}
	}
	attrs["prev_v_id"] = version(g.Version)
	g.Version++
	attrs["v_id"] = version(g.Version)
	list := make([]waBinary.Node, 0, len(who))
	for _, a := range who {
		role := ""
		if m := g.member(a.number); m != nil {
			role = m.Role
		}
		list = append(list, g.participant(a, role))
	}
	return waBinary.Node{Tag: action, Attrs: attrs, Content: list}
}

// invite makes an invitation for one number, in place of an older one.
func (e *groupEdit) invite(g *groupRecord, a *account) *groupInvite {
	g.Invites = slices.DeleteFunc(g.Invites, func(i groupInvite) bool { return i.Number == a.number })
	g.Invites = append(g.Invites, groupInvite{
		Code: newInviteCode()[:16], Number: a.number, Admin: e.actor.number, Expires: e.now + inviteDays*86400,
	})
	return &g.Invites[len(g.Invites)-1]
}

// leaveGroup takes the actor out of a group.
func (s *Server) leaveGroup(actor *account, id string) error {
	return s.editGroups(actor, func(e *groupEdit) error {
		g, err := e.openAs(id, false)
		if err != nil {
			return err
		}
		e.leave(g, actor)
		return nil
	})
}

// members answers <add>, <remove>, <promote> and <demote>.
func (q *groupQuery) members() ([]waBinary.Node, error) {
	var who []*account
	var list []waBinary.Node
	for _, jid := range participantsOf(q.node) {
		if a := q.s.findAccount(jid); a != nil {
			who = append(who, a)
		} else {
			list = append(list, participantError(jid, errNotFound.code))
		}
	}
	g, results, err := q.s.changeMembers(q.actor, q.group, q.node.Tag, who)
	if err != nil {
		return nil, err
	}
	return []waBinary.Node{{Tag: q.node.Tag, Content: append(g.results(results), list...)}}, nil
}

// results is the answer to a change of members.
func (g *groupRecord) results(results []memberResult) []waBinary.Node {
	list := make([]waBinary.Node, 0, len(results))
	for _, r := range results {
		n := g.participant(r.a, "")
		if r.code != 0 {
			n.Attrs["error"] = strconv.Itoa(r.code)
		}
		if r.invite != nil {
			n.Content = []waBinary.Node{{Tag: "add_request", Attrs: waBinary.Attrs{
				"code": r.invite.Code, "expiration": strconv.FormatInt(r.invite.Expires, 10),
			}}}
		}
		list = append(list, n)
	}
	return list
}

// participantsOf returns the JIDs of the <participant> children.
func participantsOf(n *waBinary.Node) []types.JID {
	var out []types.JID
	for _, child := range n.GetChildrenByTag("participant") {
		if jid, ok := child.Attrs["jid"].(types.JID); ok {
			out = append(out, jid.ToNonAD())
		}
	}
	return out
}

// leaveAll answers <leave>, which names groups.
func (q *groupQuery) leaveAll() ([]waBinary.Node, error) {
	left := []waBinary.Node{}
	for _, child := range q.node.GetChildrenByTag("group") {
		jid, _ := child.Attrs["id"].(types.JID)
		if err := q.s.leaveGroup(q.actor, jid.User); err != nil {
			return nil, err
		}
		left = append(left, waBinary.Node{Tag: "group", Attrs: waBinary.Attrs{"id": jid}})
	}
	return []waBinary.Node{{Tag: "leave", Content: left}}, nil
}

// mayBeAdded says whether an account lets another one add it to groups.
func (a *account) mayBeAdded(by *account) bool { return a.shows("groupadd", by) }
