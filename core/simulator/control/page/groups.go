package page

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/wildcathub/wildcat/core/simulator"
)

// groupView is what the page shows of a group.
type groupView struct {
	simulator.Group
	People []memberRow
	// Admin says that the phone is one, Member that it is in the group.
	Admin, Member bool
	// Rest are numbers that could be added.
	Rest []phoneRow
}

type memberRow struct {
	simulator.Member
	Name string
	Self bool
}

func (p *page) group(phone *simulator.Phone, jid string) *groupView {
	g, err := p.s.Group(jid)
	if err != nil {
		return nil
	}
	out := &groupView{Group: g}
	in := map[string]bool{}
	for _, m := range g.Members {
		self := m.Number == phone.Number()
		in[m.Number] = true
		out.Member, out.Admin = out.Member || self, out.Admin || self && m.Admin
		out.People = append(out.People, memberRow{m, p.nameOf(m.Number), self})
	}
	for _, other := range p.s.Phones() {
		if !in[other.Number()] {
			out.Rest = append(out.Rest, phoneRow{Number: other.Number(), Name: other.Name()})
		}
	}
	return out
}

// groupsOf are the JIDs of the groups that a number is in.
func (p *page) groupsOf(number string) []string {
	var out []string
	for _, g := range p.s.Groups() {
		if slices.ContainsFunc(g.Members, func(m simulator.Member) bool { return m.Number == number }) {
			out = append(out, g.JID)
		}
	}
	return out
}

// newGroup makes a group and opens it.
func (p *page) newGroup(r *http.Request) (string, error) {
	phone, err := p.number(r)
	if err != nil {
		return "", err
	}
	jid, err := phone.CreateGroup(r.Context(), strings.TrimSpace(r.PostFormValue("subject")), values(r.PostForm, "members")...)
	if err != nil {
		return at(phone.Number(), ""), err
	}
	return at(phone.Number(), jid), nil
}

// joinGroup joins a group by its link and opens it.
func (p *page) joinGroup(r *http.Request) (string, error) {
	phone, err := p.number(r)
	if err != nil {
		return "", err
	}
	jid, asked, err := phone.Join(r.Context(), strings.TrimSpace(r.PostFormValue("link")))
	if err != nil || asked {
		if asked {
			err = errors.New("asked to join: an admin has to agree first")
		}
		return at(phone.Number(), ""), err
	}
	return at(phone.Number(), jid), nil
}

// inGroup does what a button of the group's panel says.
func inGroup(phone *simulator.Phone, r *http.Request) error {
	ctx, jid, who := r.Context(), r.PostFormValue("chat"), values(r.PostForm, "number")
	switch r.PostFormValue("do") {
	case "add":
		return phone.GroupAdd(ctx, jid, who...)
	case "remove":
		return phone.GroupRemove(ctx, jid, who...)
	case "promote":
		return phone.GroupPromote(ctx, jid, who...)
	case "demote":
		return phone.GroupDemote(ctx, jid, who...)
	case "approve", "reject":
		return phone.Decide(ctx, jid, r.PostFormValue("do") == "approve", who...)
	case "subject":
		return phone.SetSubject(ctx, jid, strings.TrimSpace(r.PostFormValue("subject")))
	case "description":
		return phone.SetDescription(ctx, jid, strings.TrimSpace(r.PostFormValue("description")))
	case "announce":
		return phone.SetAnnounce(ctx, jid, r.PostFormValue("on") == "1")
	case "leave":
		return phone.Leave(ctx, jid)
	}
	return errors.New("nothing to do")
}
