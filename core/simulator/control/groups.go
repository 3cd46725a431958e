package control

import (
	"net/http"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/core/simulator"
)

type newGroup struct {
	Subject   string   `json:"subject"`
	Members   []string `json:"members,omitempty" doc:"numbers, besides the phone's own"`
	ByNumber  bool     `json:"by_number,omitempty" doc:"members are named by phone number, in place of hidden identifiers"`
	Announce  bool     `json:"announce,omitempty" doc:"only admins write"`
	Locked    bool     `json:"locked,omitempty" doc:"only admins change what the group is called"`
	Approval  bool     `json:"approval,omitempty" doc:"who joins by link waits for an admin"`
	Community bool     `json:"community,omitempty"`
	Parent    string   `json:"parent,omitempty" doc:"the community that the group is part of"`
}

func (a *api) newGroup(r *http.Request, in newGroup) (simulator.Group, error) {
	p, err := a.phone(r)
	if err != nil {
		return simulator.Group{}, err
	}
	jid, err := p.NewGroup(r.Context(), simulator.GroupOptions{
		Subject: in.Subject, Members: in.Members, ByNumber: in.ByNumber, Announce: in.Announce, Locked: in.Locked,
		Approval: in.Approval, Community: in.Community, Parent: in.Parent,
	})
	if err != nil {
		return simulator.Group{}, err
	}
	return a.showGroup(jid)
}

func (a *api) showGroup(jid string) (simulator.Group, error) {
	g, err := a.s.Group(jid)
	return whole(g), err
}

// whole makes lists of what would be null.
func whole(g simulator.Group) simulator.Group {
	g.Members, g.Requests = append([]simulator.Member{}, g.Members...), append([]string{}, g.Requests...)
	return g
}

type groupList struct {
	Groups []simulator.Group `json:"groups"`
}

func (a *api) groups(*http.Request) (groupList, error) {
	out := groupList{[]simulator.Group{}}
	for _, g := range a.s.Groups() {
		out.Groups = append(out.Groups, whole(g))
	}
	return out, nil
}

func (a *api) group(r *http.Request) (simulator.Group, error) { return a.showGroup(r.PathValue("jid")) }

// inGroup lets a phone do something in a group, and answers with the group as it is then.
func (a *api) inGroup(r *http.Request, do func(p *simulator.Phone, jid string) error) (simulator.Group, error) {
	p, err := a.phone(r)
	if err == nil {
		err = do(p, r.PathValue("jid"))
	}
	if err != nil {
		return simulator.Group{}, err
	}
	return a.showGroup(r.PathValue("jid"))
}

type membersChange struct {
	Action  string   `json:"action" enum:"add,remove,promote,demote,approve,reject"`
	Numbers []string `json:"numbers"`
}

func (a *api) changeMembers(r *http.Request, in membersChange) (simulator.Group, error) {
	ctx := r.Context()
	return a.inGroup(r, func(p *simulator.Phone, jid string) error {
		switch in.Action {
		case "add":
			return p.GroupAdd(ctx, jid, in.Numbers...)
		case "remove":
			return p.GroupRemove(ctx, jid, in.Numbers...)
		case "promote":
			return p.GroupPromote(ctx, jid, in.Numbers...)
		case "demote":
			return p.GroupDemote(ctx, jid, in.Numbers...)
		case "approve", "reject":
			return p.Decide(ctx, jid, in.Action == "approve", in.Numbers...)
		}
		return badRequest("bad_action", "action: want add, remove, promote, demote, approve or reject")
	})
}

type groupChange struct {
	Subject       *string `json:"subject,omitempty"`
	Description   *string `json:"description,omitempty" doc:"empty takes it away"`
	Announce      *bool   `json:"announce,omitempty"`
	Locked        *bool   `json:"locked,omitempty"`
	Approval      *bool   `json:"approval,omitempty"`
	OnlyAdminsAdd *bool   `json:"only_admins_add,omitempty"`
}

func (a *api) changeGroup(r *http.Request, in groupChange) (simulator.Group, error) {
	ctx := r.Context()
	return a.inGroup(r, func(p *simulator.Phone, jid string) error {
		if in.Subject != nil {
			if err := p.SetSubject(ctx, jid, *in.Subject); err != nil {
				return err
			}
		}
		if in.Description != nil {
			if err := p.SetDescription(ctx, jid, *in.Description); err != nil {
				return err
			}
		}
		for _, s := range []struct {
			on  *bool
			set func() error
		}{
			{in.Announce, func() error { return p.SetAnnounce(ctx, jid, *in.Announce) }},
			{in.Locked, func() error { return p.SetLocked(ctx, jid, *in.Locked) }},
			{in.Approval, func() error { return p.SetApproval(ctx, jid, *in.Approval) }},
			{in.OnlyAdminsAdd, func() error { return p.SetOnlyAdminsAdd(ctx, jid, *in.OnlyAdminsAdd) }},
		} {
			if s.on != nil {
				if err := s.set(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (a *api) leaveGroup(r *http.Request) (simulator.Group, error) {
	return a.inGroup(r, func(p *simulator.Phone, jid string) error { return p.Leave(r.Context(), jid) })
}

type inviteLink struct {
	Link string `json:"link"`
}

type resetLink struct {
	Reset bool `json:"reset,omitempty" doc:"makes a new one, and the old one useless"`
}

func (a *api) inviteLink(r *http.Request, in resetLink) (inviteLink, error) {
	p, err := a.phone(r)
	if err != nil {
		return inviteLink{}, err
	}
	link, err := p.InviteLink(r.Context(), r.PathValue("jid"), in.Reset)
	return inviteLink{link}, err
}

type invitee struct {
	Number string `json:"number"`
}

// invite sends a number an invitation to a group.
func (a *api) invite(r *http.Request, in invitee) (messageID, error) {
	p, err := a.phone(r)
	if err != nil {
		return messageID{}, err
	}
	msg, err := p.Invite(r.Context(), r.PathValue("jid"), in.Number)
	if err != nil {
		return messageID{}, err
	}
	msg.Caption = proto.String("")
	id, err := p.Send(r.Context(), in.Number, &waE2E.Message{GroupInviteMessage: msg}, simulator.SendOptions{})
	return messageID{id}, err
}

type joinGroup struct {
	Link  string `json:"link,omitempty"`
	Group string `json:"group,omitempty" doc:"of an invitation, with its code"`
	Code  string `json:"code,omitempty"`
}

type joined struct {
	Group string `json:"group"`
	Asked bool   `json:"asked" doc:"an admin has to agree first"`
}

func (a *api) join(r *http.Request, in joinGroup) (joined, error) {
	p, err := a.phone(r)
	if err != nil {
		return joined{}, err
	}
	if in.Link == "" {
		return joined{Group: in.Group}, p.AcceptInvite(r.Context(), in.Group, in.Code)
	}
	group, asked, err := p.Join(r.Context(), in.Link)
	return joined{group, asked}, err
}

type part struct {
	Group string `json:"group"`
	On    bool   `json:"on" doc:"false takes the group out of the community"`
}

// linkGroup makes a group part of a community, or takes it out.
func (a *api) linkGroup(r *http.Request, in part) (simulator.Group, error) {
	return a.inGroup(r, func(p *simulator.Phone, community string) error {
		if in.On {
			return p.LinkGroup(r.Context(), community, in.Group)
		}
		return p.UnlinkGroup(r.Context(), community, in.Group)
	})
}
