package simulator

import (
	"slices"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// inviteCode returns the code of a group's invite link, to an admin; reset makes a new one
// and revokes the old. The errors are those of whatsmeow's GetGroupInviteLink: 401 for who is no
// admin, 403 for who is not in it.
func (s *Server) inviteCode(actor *account, id string, reset bool) (code string, err error) {
	err = s.editGroups(actor, func(e *groupEdit) error {
		g, err := e.open(id)
		switch {
		case err != nil:
			return err
		case g.member(actor.number) == nil:
			return errForbidden
		case !g.isAdmin(actor.number):
			return errNotAuthorized
		}
		if reset {
			g.Revoked = append(g.Revoked, g.Invite)
			g.Invite = newInviteCode()
			e.notice(g, g.accounts(s), waBinary.Node{Tag: "invite", Attrs: waBinary.Attrs{"code": g.Invite}})
		}
		code = g.Invite
		return nil
	})
	return code, err
}

// groupOfCode returns the id of the group that an invite code leads to; the book's lock is held.
func (s *Server) groupOfCode(code string) (string, error) {
	id := s.groups.byCode[code]
	switch g := s.groups.byID[id]; {
	case g == nil:
		return "", ErrInviteInvalid
	case g.Invite != code:
		return "", ErrInviteRevoked
	}
	return id, nil
}

// joinByCode lets the actor in by a link, or, where an admin has to agree, notes that it
// asks; asked then is true.
func (s *Server) joinByCode(actor *account, code string) (id string, asked bool, err error) {
	err = s.editGroups(actor, func(e *groupEdit) error {
		if id, err = s.groupOfCode(code); err != nil {
			return err
		}
		g, err := e.open(id)
		if err != nil {
			return err
		}
		if g.member(actor.number) != nil {
			return errConflict
		}
		if !g.Approval {
			e.join(g, "invite", actor)
			return nil
		}
		asked = true
		if slices.ContainsFunc(g.Requests, func(r groupJoinRequest) bool { return r.Number == actor.number }) {
			return nil
		}
		g.Requests = append(g.Requests, groupJoinRequest{actor.number, e.now})
		user := g.participant(actor, "")
		user.Tag = "requested_user"
		e.notice(g, g.admins(s), waBinary.Node{
			Tag: "created_membership_requests", Attrs: waBinary.Attrs{"request_method": "invite_link"},
			Content: []waBinary.Node{user},
		})
		return nil
	})
	return id, asked, err
}

// invitation checks an invitation of one number; who the admin is does not matter to it.
func (g *groupRecord) invitation(number, code string, now int64) error {
	i := slices.IndexFunc(g.Invites, func(i groupInvite) bool { return i.Code == code && i.Number == number })
	switch {
	case i < 0:
		return ErrInviteInvalid
	case g.Invites[i].Expires < now:
		return ErrInviteRevoked
	}
	return nil
}

// acceptInvite lets the actor in by an invitation that an admin sent to it.
func (s *Server) acceptInvite(actor *account, id, code string) error {
	return s.editGroups(actor, func(e *groupEdit) error {
		g, err := e.open(id)
		if err != nil {
			return err
		}
		if g.member(actor.number) != nil {
			return errConflict
		}
		if err = g.invitation(actor.number, code, e.now); err != nil {
			return err
		}
		e.join(g, "invite", actor)
		return nil
	})
}

// decideRequests approves or rejects people who asked to join.
func (s *Server) decideRequests(actor *account, id string, approve bool, who []*account) (g *groupRecord, results []memberResult, err error) {
	err = s.editGroups(actor, func(e *groupEdit) error {
		if g, err = e.openAs(id, true); err != nil {
			return err
		}
		var in []*account
		for _, a := range who {
			asked := func(r groupJoinRequest) bool { return r.Number == a.number }
			if !slices.ContainsFunc(g.Requests, asked) {
				results = append(results, memberResult{a: a, code: errNotFound.code})
				continue
			}
			g.Requests = slices.DeleteFunc(g.Requests, asked)
			in = append(in, a)
			results = append(results, memberResult{a: a})
		}
		switch {
		case len(in) == 0:
		case approve:
			e.join(g, "invite", in...)
		default:
			e.notice(g, append(g.admins(s), in...), waBinary.Node{
				Tag: "revoked_membership_requests", Content: g.results(results),
			})
		}
		return nil
	})
	return g, results, err
}

// inviteLink answers <invite/> of a group, and <invite code/> of none.
func (q *groupQuery) inviteLink() ([]waBinary.Node, error) {
	code := text(q.node, "code")
	switch {
	case q.group != "":
		code, err := q.s.inviteCode(q.actor, q.group, q.set)
		return []waBinary.Node{{Tag: "invite", Attrs: waBinary.Attrs{"code": code}}}, err
	case q.set:
		id, asked, err := q.s.joinByCode(q.actor, code)
		tag := map[bool]string{false: "group", true: "membership_approval_request"}[asked]
		return []waBinary.Node{{Tag: tag, Attrs: waBinary.Attrs{"jid": groupJID(id)}}}, err
	}
	q.s.groups.mu.RLock()
	defer q.s.groups.mu.RUnlock()
	id, err := q.s.groupOfCode(code)
	if err != nil {
		return nil, err
	}
	return []waBinary.Node{q.s.groups.byID[id].node(q.s, false)}, nil
}

// requests answers with those who ask to join.
func (q *groupQuery) requests() ([]waBinary.Node, error) {
	list := []waBinary.Node{}
	err := q.s.viewGroup(q.group, func(g *groupRecord) error {
		if g.member(q.actor.number) == nil {
			return ErrNotMember
		}
		if !g.isAdmin(q.actor.number) {
			return ErrNotAdmin
		}
		for _, r := range g.Requests {
			a := q.s.account(r.Number)
			if a == nil {
				continue
			}
			n := g.participant(a, "")
			n.Tag = "membership_approval_request"
			n.Attrs["request_time"] = strconv.FormatInt(r.At, 10)
			list = append(list, n)
		}
		return nil
	})
	return []waBinary.Node{{Tag: "membership_approval_requests", Content: list}}, err
}

// decide answers <membership_requests_action>.
func (q *groupQuery) decide() ([]waBinary.Node, error) {
	action := "approve"
	child, ok := q.node.GetOptionalChildByTag(action)
	if !ok {
		action = "reject"
		child = q.node.GetChildByTag(action)
	}
	var who []*account
	for _, jid := range participantsOf(&child) {
		if a := q.s.findAccount(jid); a != nil {
			who = append(who, a)
		}
	}
	g, results, err := q.s.decideRequests(q.actor, q.group, action == "approve", who)
	if err != nil {
		return nil, err
	}
	return []waBinary.Node{{Tag: "membership_requests_action", Content: []waBinary.Node{
		{Tag: action, Content: g.results(results)},
	}}}, nil
}

// accept answers <accept>, the join by an invitation.
func (q *groupQuery) accept() ([]waBinary.Node, error) {
	err := q.s.acceptInvite(q.actor, q.group, text(q.node, "code"))
	return []waBinary.Node{{Tag: "group", Attrs: waBinary.Attrs{"jid": types.NewJID(q.group, types.GroupServer)}}}, err
}
