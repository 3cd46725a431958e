package simulator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// GroupOptions of a group that a phone makes.
type GroupOptions struct {
	// Subject is its name, 1 to 100 characters.
	Subject string
	// Members are the numbers of those who are in it, besides the phone's own.
	Members []string
	// ByNumber makes it name its members by phone number, in place of hidden identifiers.
	ByNumber bool
	// Announce lets only admins write, Locked only admins change what the group is called.
	Announce, Locked bool
	// Approval makes who joins by link wait for an admin.
	Approval bool
	// Community makes it one, with a group for announcements in it; Parent makes it a
	// group of the community with this JID.
	Community bool
	Parent    string
}

// manyRef resolves a chat with many.
func (s *Server) manyRef(jid types.JID) chatRef {
	ref := chatRef{name: jid.String(), jid: jid}
	_ = s.viewGroup(jid.User, func(g *groupRecord) error { // whoever writes to one that is not there is told so
		ref.byLID, ref.timer = g.ByLID, g.Ephemeral
		return nil
	})
	return ref
}

// CreateGroup makes a group with the phone as its owner and returns its JID. Members are numbers.
func (p *Phone) CreateGroup(ctx context.Context, subject string, members ...string) (jid string, err error) {
	return p.NewGroup(ctx, GroupOptions{Subject: subject, Members: members})
}

// NewGroup is [Phone.CreateGroup] with everything that can be said about a group.
func (p *Phone) NewGroup(ctx context.Context, opts GroupOptions) (jid string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	members, err := p.acct.s.accountsOf(opts.Members)
	if err != nil {
		return "", err
	}
	spec := groupSpec{
		subject: opts.Subject, members: members, byLID: !opts.ByNumber, announce: opts.Announce,
		locked: opts.Locked, approval: opts.Approval, parent: opts.Community,
	}
	if opts.Parent != "" {
		spec.linked = groupID(opts.Parent)
	}
	if spec.parent {
		spec.approve = "request_required"
	}
	g, err := p.acct.s.createGroup(p.acct, spec)
	if err != nil {
		return "", fmt.Errorf("create group: %w", err)
	}
	return g.jid().String(), nil
}

// GroupAdd adds numbers to a group. Who is in it already, or may not be added, is an error;
// the others are added all the same.
func (p *Phone) GroupAdd(ctx context.Context, group string, numbers ...string) error {
	return p.changeMembers(ctx, group, "add", numbers)
}

// GroupRemove removes numbers from a group that the phone moderates.
func (p *Phone) GroupRemove(ctx context.Context, group string, numbers ...string) error {
	return p.changeMembers(ctx, group, "remove", numbers)
}

// GroupPromote makes members admins.
func (p *Phone) GroupPromote(ctx context.Context, group string, numbers ...string) error {
	return p.changeMembers(ctx, group, "promote", numbers)
}

// GroupDemote makes admins plain members.
func (p *Phone) GroupDemote(ctx context.Context, group string, numbers ...string) error {
	return p.changeMembers(ctx, group, "demote", numbers)
}

func (p *Phone) changeMembers(ctx context.Context, group, action string, numbers []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	who, err := p.acct.s.accountsOf(numbers)
	if err != nil {
		return err
	}
	_, results, err := p.acct.s.changeMembers(p.acct, groupID(group), action, who)
	if err == nil {
		err = refused(results)
	}
	if err != nil {
		return fmt.Errorf("%s members of %s: %w", action, group, err)
	}
	return nil
}

// refused is the first refusal among results, or nil.
func refused(results []memberResult) error {
	for _, r := range results {
		if r.code != 0 {
			return fmt.Errorf("%s: %w", r.a.number, &iqError{r.code, "refused"})
		}
	}
	return nil
}

// Leave takes the phone out of a group.
func (p *Phone) Leave(ctx context.Context, group string) error {
	return p.groupDo(ctx, "leave", group, func(id string) error { return p.acct.s.leaveGroup(p.acct, id) })
}

// SetSubject renames a group.
func (p *Phone) SetSubject(ctx context.Context, group, subject string) error {
	return p.groupDo(ctx, "rename", group, func(id string) error { return p.acct.s.setGroupSubject(p.acct, id, subject) })
}

// SetDescription changes a group's description; an empty one removes it.
func (p *Phone) SetDescription(ctx context.Context, group, description string) error {
	return p.groupDo(ctx, "describe", group, func(id string) error {
		return p.acct.s.setGroupTopic(p.acct, id, newMessageID(), "", description, true)
	})
}

// SetAnnounce lets only admins write in a group, or everybody again.
func (p *Phone) SetAnnounce(ctx context.Context, group string, on bool) error {
	tag := map[bool]string{true: "announcement", false: "not_announcement"}[on]
	return p.groupDo(ctx, tag, group, func(id string) error { return p.acct.s.setGroupFlag(p.acct, id, tag) })
}

// SetLocked lets only admins change what a group is called and how it looks, or everybody again.
func (p *Phone) SetLocked(ctx context.Context, group string, on bool) error {
	tag := map[bool]string{true: "locked", false: "unlocked"}[on]
	return p.groupDo(ctx, tag, group, func(id string) error { return p.acct.s.setGroupFlag(p.acct, id, tag) })
}

// SetApproval makes who joins by link wait for an admin, or not any more.
func (p *Phone) SetApproval(ctx context.Context, group string, on bool) error {
	return p.groupDo(ctx, "set approval of", group, func(id string) error { return p.acct.s.setGroupApproval(p.acct, id, on) })
}

// SetOnlyAdminsAdd lets only admins add members, or everybody again.
func (p *Phone) SetOnlyAdminsAdd(ctx context.Context, group string, on bool) error {
	mode := map[bool]string{true: addByAdmins, false: addByAll}[on]
	return p.groupDo(ctx, "set add mode of", group, func(id string) error { return p.acct.s.setGroupAddMode(p.acct, id, mode) })
}

// InviteLink returns the link by which one joins a group that the phone moderates; reset
// makes a new one and the old one useless.
func (p *Phone) InviteLink(ctx context.Context, group string, reset bool) (link string, err error) {
	err = p.groupDo(ctx, "invite to", group, func(id string) error {
		link, err = p.acct.s.inviteCode(p.acct, id, reset)
		return err
	})
	return inviteLinkPrefix + link, err
}

// Join joins a group by its link and returns its JID. asked is true when an admin has to
// agree first.
func (p *Phone) Join(ctx context.Context, link string) (group string, asked bool, err error) {
	if err = ctx.Err(); err != nil {
		return "", false, err
	}
	id, asked, err := p.acct.s.joinByCode(p.acct, strings.TrimPrefix(link, inviteLinkPrefix))
	if err != nil {
		return "", false, fmt.Errorf("join: %w", err)
	}
	return groupJID(id).String(), asked, nil
}

// Decide lets numbers that asked to join a group in, or sends them away.
func (p *Phone) Decide(ctx context.Context, group string, approve bool, numbers ...string) error {
	who, err := p.acct.s.accountsOf(numbers)
	if err != nil {
		return err
	}
	return p.groupDo(ctx, "decide on", group, func(id string) error {
		_, results, err := p.acct.s.decideRequests(p.acct, id, approve, who)
		if err == nil {
			err = refused(results)
		}
		return err
	})
}

// Invite makes an invitation of one number to a group, which [Phone.Send] sends to it as a
// GroupInviteMessage.
func (p *Phone) Invite(ctx context.Context, group, number string) (*waE2E.GroupInviteMessage, error) {
	who, err := p.acct.s.accountsOf([]string{number})
	if err != nil {
		return nil, err
	}
	var out *waE2E.GroupInviteMessage
	err = p.groupDo(ctx, "invite to", group, func(id string) error {
		return p.acct.s.editGroups(p.acct, func(e *groupEdit) error {
			g, err := e.openAs(id, true)
			if err != nil {
				return err
			}
			jid, subject, i := g.jid().String(), g.Subject, e.invite(g, who[0])
			out = &waE2E.GroupInviteMessage{
				GroupJID: &jid, GroupName: &subject, InviteCode: &i.Code, InviteExpiration: &i.Expires,
			}
			return nil
		})
	})
	return out, err
}

// AcceptInvite joins a group by an invitation.
func (p *Phone) AcceptInvite(ctx context.Context, group, code string) error {
	return p.groupDo(ctx, "join", group, func(id string) error { return p.acct.s.acceptInvite(p.acct, id, code) })
}

// LinkGroup makes a group part of a community, and UnlinkGroup takes it out. The phone
// moderates both.
func (p *Phone) LinkGroup(ctx context.Context, community, group string) error {
	return p.groupDo(ctx, "link", group, func(id string) error {
		return p.acct.s.linkGroup(p.acct, groupID(community), id, true)
	})
}

// UnlinkGroup takes a group out of a community.
func (p *Phone) UnlinkGroup(ctx context.Context, community, group string) error {
	return p.groupDo(ctx, "unlink", group, func(id string) error {
		return p.acct.s.linkGroup(p.acct, groupID(community), id, false)
	})
}

func (p *Phone) groupDo(ctx context.Context, what, group string, f func(id string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f(groupID(group)); err != nil {
		return fmt.Errorf("%s %s: %w", what, group, err)
	}
	return nil
}

// accountsOf resolves numbers.
func (s *Server) accountsOf(numbers []string) ([]*account, error) {
	out := make([]*account, 0, len(numbers))
	for _, n := range numbers {
		number, err := cleanNumber(n)
		if err != nil {
			return nil, err
		}
		a := s.account(number)
		if a == nil {
			return nil, fmt.Errorf("%s: %w", number, ErrUnknownNumber)
		}
		out = append(out, a)
	}
	return out, nil
}

// Readers returns the numbers that have read a message that the phone sent to many.
func (p *Phone) Readers(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.sent[id]; m != nil {
		return slices.Sorted(maps.Keys(m.readers))
	}
	return nil
}

// WaitReaders waits until at least n numbers have read a message that the phone sent.
func (p *Phone) WaitReaders(ctx context.Context, id string, n int) error {
	return p.wait(ctx, "readers", func() bool {
		m := p.sent[id]
		return m != nil && len(m.readers) >= n
	})
}

func (m *sentMessage) readBy(number string) {
	if m.readers == nil {
		m.readers = map[string]bool{}
	}
	m.readers[number] = true
}

// SenderKeyID is the id of the key with which the phone encrypts for a chat with many, 0
// before it has one. It changes when somebody who has the key may read no more.
func (p *Phone) SenderKeyID(chat string) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec, err := p.store.LoadSenderKey(context.Background(), senderKeyName(chat, p.dev))
	if err != nil || rec.IsEmpty() {
		return 0
	}
	state, err := rec.SenderKeyState()
	if err != nil {
		return 0
	}
	return state.KeyID()
}
