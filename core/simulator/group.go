package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// What a change of a group, or a message to one, is refused with. The codes are those that
// whatsmeow tells apart (group.go, errors.go).
var (
	errNotAuthorized = &iqError{401, "not-authorized"}
	errForbidden     = &iqError{403, "forbidden"}
	errConflict      = &iqError{409, "conflict"}
	errGone          = &iqError{410, "gone"}

	// ErrUnknownGroup says that no group has the JID.
	ErrUnknownGroup = fmt.Errorf("no such group: %w", errNotFound)
	// ErrNotMember says that the number is not in the group that it wants to change.
	ErrNotMember = fmt.Errorf("not in the group: %w", errNotAuthorized)
	// ErrNotAdmin says that only an admin of the group may do this.
	ErrNotAdmin = fmt.Errorf("not an admin of the group: %w", errForbidden)
	// ErrInviteInvalid says that no group has, or had, the invite code.
	ErrInviteInvalid = fmt.Errorf("no such invite: %w", errNotAcceptable)
	// ErrInviteRevoked says that the invite code was reset, used or has expired.
	ErrInviteRevoked = fmt.Errorf("invite was revoked: %w", errGone)
)

// Roles of a member; a plain one has none.
const (
	roleAdmin      = "admin"
	roleSuperAdmin = "superadmin" // who made the group: it cannot be removed or demoted
)

const (
	addByAdmins = string(types.GroupMemberAddModeAdmin)
	addByAll    = string(types.GroupMemberAddModeAllMember)
)

// groupBook keeps the groups. One lock guards all: changes are rare, those of a community
// concern several groups, and a message is fanned out under the read lock, so that nobody who
// was removed gets what was sent after. It comes after a phone's lock, and before those of
// accounts and devices.
type groupBook struct {
	mu     sync.RWMutex
	byID   map[string]*groupRecord // a record is replaced, never changed
	byCode map[string]string       // ids by invite code, revoked ones too
}

func newGroupBook() groupBook {
	return groupBook{byID: map[string]*groupRecord{}, byCode: map[string]string{}}
}

// groupRecord is a group as the journal has it. People are named by number.
type groupRecord struct {
	ID      string
	ByLID   bool // members are addressed by their hidden identifiers
	Created int64
	Creator string
	Version uint64 // of the list of members
	Members []groupMember

	Subject   string
	SubjectBy string
	SubjectAt int64
	Topic     string `json:",omitempty"`
	TopicID   string `json:",omitempty"`
	TopicBy   string `json:",omitempty"`
	TopicAt   int64  `json:",omitempty"`
	PictureID string `json:",omitempty"`

	Announce        bool   `json:",omitempty"`
	AnnounceVersion uint64 `json:",omitempty"`
	Locked          bool   `json:",omitempty"`
	Ephemeral       uint32 `json:",omitempty"` // seconds
	Approval        bool   `json:",omitempty"` // an admin lets people in
	AddMode         string

	Invite   string
	Revoked  []string           `json:",omitempty"`
	Invites  []groupInvite      `json:",omitempty"`
	Requests []groupJoinRequest `json:",omitempty"`

	Parent          bool   `json:",omitempty"` // a community
	DefaultApproval string `json:",omitempty"`
	Linked          string `json:",omitempty"` // the community that it is part of
	DefaultSub      bool   `json:",omitempty"` // the community's announcements
}

type groupMember struct {
	Number string
	Role   string `json:",omitempty"`
}

// groupInvite is an invitation of one number, for those who may not be added.
type groupInvite struct {
	Code, Number, Admin string
	Expires             int64
}

type groupJoinRequest struct {
	Number string
	At     int64
}

func (g *groupRecord) clone() *groupRecord {
	out := *g
	out.Members = slices.Clone(g.Members)
	out.Revoked = slices.Clone(g.Revoked)
	out.Invites = slices.Clone(g.Invites)
	out.Requests = slices.Clone(g.Requests)
	return &out
}

func (g *groupRecord) jid() types.JID { return types.NewJID(g.ID, types.GroupServer) }

// member returns the member of a number, or nil.
func (g *groupRecord) member(number string) *groupMember {
	if i := slices.IndexFunc(g.Members, func(m groupMember) bool { return m.Number == number }); i >= 0 {
		return &g.Members[i]
	}
	return nil
}

func (g *groupRecord) isAdmin(number string) bool {
	m := g.member(number)
	return m != nil && m.Role != ""
}

// accounts returns the members' accounts.
func (g *groupRecord) accounts(s *Server) []*account {
	out := make([]*account, 0, len(g.Members))
	for _, m := range g.Members {
		if a := s.account(m.Number); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// admins returns the accounts of those who may let others in.
func (g *groupRecord) admins(s *Server) []*account {
	var out []*account
	for _, a := range g.accounts(s) {
		if g.isAdmin(a.number) {
			out = append(out, a)
		}
	}
	return out
}

func (s *Server) loadGroup(_ []string, value []byte) error {
	g := new(groupRecord)
	if err := json.Unmarshal(value, g); err != nil {
		return err
	}
	s.groups.put(g)
	return nil
}

// put makes a record the current one; mu is held.
func (b *groupBook) put(g *groupRecord) {
	b.byID[g.ID] = g
	b.byCode[g.Invite] = g.ID
	for _, code := range g.Revoked {
		b.byCode[code] = g.ID
	}
}

// view calls f with the current record of a group, which stays current until f returns.
func (s *Server) viewGroup(id string, f func(*groupRecord) error) error {
	s.groups.mu.RLock()
	defer s.groups.mu.RUnlock()
	g := s.groups.byID[id]
	if g == nil {
		return ErrUnknownGroup
	}
	return f(g)
}

// groupEdit is one change of groups, by somebody: all of it becomes durable and is seen, or
// none of it is.
type groupEdit struct {
	s      *Server
	actor  *account
	o      *outgoing
	now    int64
	edited map[string]*groupRecord
}

// editGroups runs f, which collects changes, and applies them unless f returns an error.
func (s *Server) editGroups(actor *account, f func(*groupEdit) error) error {
	s.groups.mu.Lock()
	defer s.groups.mu.Unlock()
	e := &groupEdit{s: s, actor: actor, o: s.outgoing(s.begin()), now: s.now(), edited: map[string]*groupRecord{}}
	if err := f(e); err != nil {
		return err
	}
	for id, g := range e.edited {
		e.o.b.putJSON("g/"+id, g)
	}
	if err := e.o.commit(); err != nil {
		return err
	}
	for _, g := range e.edited {
		s.groups.put(g)
	}
	return nil
}

// open returns a group for changing.
func (e *groupEdit) open(id string) (*groupRecord, error) {
	if g := e.edited[id]; g != nil {
		return g, nil
	}
	g := e.s.groups.byID[id]
	if g == nil {
		return nil, ErrUnknownGroup
	}
	g = g.clone()
	e.edited[id] = g
	return g, nil
}

// openAs is open for a member, or, with admin set, for an admin only.
func (e *groupEdit) openAs(id string, admin bool) (*groupRecord, error) {
	g, err := e.open(id)
	switch {
	case err != nil:
		return nil, err
	case g.member(e.actor.number) == nil:
		return nil, ErrNotMember
	case admin && !g.isAdmin(e.actor.number):
		return nil, ErrNotAdmin
	}
	return g, nil
}

// Group is a group as the server has it, at one moment. People are named by number.
type Group struct {
	// JID is the group's, as text.
	JID         string    `json:"jid"`
	Subject     string    `json:"subject"`
	Description string    `json:"description"`
	Creator     string    `json:"creator"`
	Created     time.Time `json:"created"`
	Members     []Member  `json:"members"`
	// ByLID says that members are addressed by their hidden identifiers in it.
	ByLID bool `json:"by_lid"`
	// Announce lets only admins write, Locked lets only admins change subject, description,
	// picture and timer.
	Announce bool `json:"announce"`
	Locked   bool `json:"locked"`
	// Ephemeral is how long messages stay; 0 is for ever.
	Ephemeral time.Duration `json:"ephemeral_ns"`
	// Approval makes who joins by link wait for an admin; Requests are those who wait.
	Approval bool     `json:"approval"`
	Requests []string `json:"requests"`
	// OnlyAdminsAdd keeps plain members from adding others.
	OnlyAdminsAdd bool   `json:"only_admins_add"`
	InviteLink    string `json:"invite_link"`
	// PictureID is empty for a group without a picture.
	PictureID string `json:"picture_id"`
	// Community says that it is one; Parent is the JID of the one that it is part of, or empty.
	Community bool   `json:"community"`
	Parent    string `json:"parent"`
}

// Member is somebody in a [Group].
type Member struct {
	Number string `json:"number"`
	Admin  bool   `json:"admin"`
	// Owner made the group.
	Owner bool `json:"owner"`
}

func (g *groupRecord) show() Group {
	out := Group{
		JID: g.jid().String(), Subject: g.Subject, Description: g.Topic, Creator: g.Creator,
		Created: time.Unix(g.Created, 0).UTC(), ByLID: g.ByLID, Announce: g.Announce, Locked: g.Locked,
		Ephemeral: time.Duration(g.Ephemeral) * time.Second, Approval: g.Approval,
		OnlyAdminsAdd: g.AddMode == addByAdmins, InviteLink: inviteLinkPrefix + g.Invite,
		PictureID: g.PictureID, Community: g.Parent,
	}
	if g.Linked != "" {
		out.Parent = types.NewJID(g.Linked, types.GroupServer).String()
	}
	for _, m := range g.Members {
		out.Members = append(out.Members, Member{m.Number, m.Role != "", m.Role == roleSuperAdmin})
	}
	for _, r := range g.Requests {
		out.Requests = append(out.Requests, r.Number)
	}
	return out
}

// Groups returns all groups, in the order of their JIDs.
func (s *Server) Groups() []Group {
	s.groups.mu.RLock()
	defer s.groups.mu.RUnlock()
	var out []Group
	for _, id := range slices.Sorted(maps.Keys(s.groups.byID)) {
		out = append(out, s.groups.byID[id].show())
	}
	return out
}

// Group returns a group by its JID, or [ErrUnknownGroup].
func (s *Server) Group(jid string) (Group, error) {
	var out Group
	err := s.viewGroup(groupID(jid), func(g *groupRecord) error {
		out = g.show()
		return nil
	})
	return out, err
}

// codeOf is the code with which a client is told of an error.
func codeOf(err error) int {
	var refused *iqError
	if errors.As(err, &refused) {
		return refused.code
	}
	return 500
}

// groupID is the part of a group's JID that names it.
func groupID(jid string) string {
	id, server, ok := strings.Cut(jid, "@")
	if ok && server != types.GroupServer {
		return "" // no group has it
	}
	return id
}

// notice is a change of a group as clients are told: to every device of to.
func (e *groupEdit) notice(g *groupRecord, to []*account, changes ...waBinary.Node) {
	node := waBinary.Node{Tag: "notification", Attrs: e.noticeAttrs(g, "w:gp2"), Content: changes}
	for _, d := range devicesOf(to) {
		e.o.add(d, node)
	}
}

func (e *groupEdit) noticeAttrs(g *groupRecord, kind string) waBinary.Attrs {
	return waBinary.Attrs{
		"from": g.jid(), "type": kind, "id": e.s.stanzaID(), "t": fmt.Sprint(e.now),
		"participant": e.actor.as(g.ByLID), altParticipant(g.ByLID): e.actor.as(!g.ByLID),
		"notify": e.actor.pushName(), "addressing_mode": addressingMode(g.ByLID),
	}
}

func addressingMode(byLID bool) string {
	if byLID {
		return string(types.AddressingModeLID)
	}
	return string(types.AddressingModePN)
}

// altParticipant is the attribute with the other name of a participant (message.go's
// parseMessageSource).
func altParticipant(byLID bool) string {
	if byLID {
		return "participant_pn"
	}
	return "participant_lid"
}

// groupMembers returns the accounts in a group, for one of them.
func (s *Server) groupMembers(a *account, jid types.JID) (out []*account, err error) {
	if jid.Server != types.GroupServer {
		return nil, ErrUnknownGroup
	}
	err = s.viewGroup(jid.User, func(g *groupRecord) error {
		if g.member(a.number) == nil {
			return ErrNotMember
		}
		out = g.accounts(s)
		return nil
	})
	return out, err
}
