package simulator

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf8"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// SubjectLimit is the longest name of a group, in characters.
const SubjectLimit = 100

// DescriptionLimit is the longest description of a group, in characters.
const DescriptionLimit = 2048

// inviteLinkPrefix is what whatsmeow puts before, and takes off, an invite code.
const inviteLinkPrefix = "https://chat.whatsapp.com/"

func groupJID(id string) types.JID { return types.NewJID(id, types.GroupServer) }

// groupSpec is a group that is to be made.
type groupSpec struct {
	subject  string
	key      string // comes back in the notification, so that its maker knows it
	members  []*account
	byLID    bool
	announce bool
	locked   bool
	approval bool
	timer    uint32
	parent   bool
	approve  string // of a community: the default of its groups
	linked   string
	sub      bool // a community's announcements
}

// createGroup makes a group with the actor as its owner, and a community's announcements with it.
func (s *Server) createGroup(actor *account, spec groupSpec) (*groupRecord, error) {
	if err := checkSubject(spec.subject); err != nil {
		return nil, err
	}
	var made *groupRecord
	err := s.editGroups(actor, func(e *groupEdit) error {
		if spec.linked != "" {
			parent, err := e.openAs(spec.linked, true)
			if err != nil {
				return err
			}
			if !parent.Parent {
				return errNotAcceptable
			}
		}
		made = e.make(spec)
		if !spec.parent {
			return nil
		}
		sub := spec
		sub.parent, sub.sub, sub.linked, sub.announce, sub.key = false, true, made.ID, true, ""
		e.make(sub)
		return nil
	})
	return made, err
}

func checkSubject(subject string) error {
	if n := utf8.RuneCountInString(subject); n == 0 || n > SubjectLimit {
		return fmt.Errorf("a group's name has 1 to %d characters: %w", SubjectLimit, errNotAcceptable)
	}
	return nil
}

// make adds a group and tells its members.
func (e *groupEdit) make(spec groupSpec) *groupRecord {
	owner := e.actor.number
	g := &groupRecord{
		ID: newGroupID(), ByLID: spec.byLID, Created: e.now, Creator: owner, Version: uint64(e.now) * 1000,
		Subject: spec.subject, SubjectBy: owner, SubjectAt: e.now, Announce: spec.announce, Locked: spec.locked,
		Ephemeral: spec.timer, Approval: spec.approval, AddMode: addByAll, Invite: newInviteCode(),
		Parent: spec.parent, DefaultApproval: spec.approve, Linked: spec.linked, DefaultSub: spec.sub,
		Members: []groupMember{{owner, roleSuperAdmin}},
	}
	for _, a := range spec.members {
		if g.member(a.number) == nil {
			g.Members = append(g.Members, groupMember{Number: a.number})
		}
	}
	e.edited[g.ID] = g
	create := waBinary.Node{
		Tag: "create", Attrs: waBinary.Attrs{"type": "new"},
		Content: []waBinary.Node{g.node(e.s, true)},
	}
	if spec.key != "" {
		create.Attrs["key"] = spec.key
	}
	e.notice(g, g.accounts(e.s), create)
	return g
}

// create answers <create>.
func (q *groupQuery) create() ([]waBinary.Node, error) {
	spec := groupSpec{subject: text(q.node, "subject"), key: text(q.node, "key"), byLID: !q.s.opts.GroupsByNumber}
	var absent []waBinary.Node
	for _, child := range q.node.GetChildren() {
		jid, _ := child.Attrs["jid"].(types.JID)
		switch child.Tag {
		case "participant":
			switch a := q.s.findAccount(jid); {
			case a == nil:
				absent = append(absent, participantError(jid, errNotFound.code))
			case !a.mayBeAdded(q.actor):
				absent = append(absent, participantError(jid, errForbidden.code))
			default:
				spec.members = append(spec.members, a)
			}
		case "parent":
			spec.parent, spec.approve = true, text(&child, "default_membership_approval_mode")
		case "linked_parent":
			spec.linked = jid.User
		case "locked":
			spec.locked = true
		case "announcement":
			spec.announce = true
		case "membership_approval_mode":
			spec.approval = true
		case "ephemeral":
			seconds, err := strconv.ParseUint(text(&child, "expiration"), 10, 32)
			if err != nil {
				return nil, errBadRequest
			}
			spec.timer = uint32(seconds)
		}
	}
	g, err := q.s.createGroup(q.actor, spec)
	if err != nil {
		return nil, err
	}
	node := g.node(q.s, true)
	node.Content = append(node.GetChildren(), absent...)
	return []waBinary.Node{node}, nil
}

func participantError(jid types.JID, code int) waBinary.Node {
	return waBinary.Node{Tag: "participant", Attrs: waBinary.Attrs{"jid": jid, "error": strconv.Itoa(code)}}
}

// newGroupID makes an id as WhatsApp does: 120363 and twelve digits.
func newGroupID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return fmt.Sprintf("120363%012d", binary.BigEndian.Uint64(b[:])%1_000_000_000_000)
}

// newInviteCode makes the end of an invite link: 22 letters and digits.
func newInviteCode() string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b [22]byte
	_, _ = rand.Read(b[:])
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b[:])
}
