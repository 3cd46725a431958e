package simulator

import (
	"context"
	"errors"
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// setGroupPicture shows a JPEG as a group's picture, or none, and returns its id.
func (s *Server) setGroupPicture(actor *account, id string, raw []byte) (pictureID string, err error) {
	err = s.editGroups(actor, func(e *groupEdit) error {
		g, err := e.openAs(id, false)
		if err != nil {
			return err
		}
		if g.Locked && !g.isAdmin(actor.number) {
			return ErrNotAdmin
		}
		attrs := waBinary.Attrs{"jid": g.jid(), "author": actor.as(g.ByLID)}
		change := waBinary.Node{Tag: "delete", Attrs: attrs}
		if len(raw) > 0 {
			if pictureID, err = s.addPicture(e.o.b, raw); err != nil {
				return err
			}
			attrs["id"], change.Tag = pictureID, "set"
		}
		s.dropPicture(e.o.b, g.PictureID)
		g.PictureID = pictureID
		node := waBinary.Node{Tag: "notification", Attrs: e.noticeAttrs(g, "picture"), Content: []waBinary.Node{change}}
		for _, d := range devicesOf(g.accounts(s)) {
			e.o.add(d, node)
		}
		return nil
	})
	return pictureID, err
}

// handleGroupPicture looks up a group's picture, or sets it. Who is in the group sees it, and
// who has its invite code.
func (s *Server) handleGroupPicture(c *conn, group types.JID, iq *waBinary.Node) ([]waBinary.Node, error) {
	asked, named := iq.GetOptionalChildByTag("picture")
	if iq.Attrs["type"] != "set" {
		return s.groupPicture(c.dev.acct, group.User, &asked)
	}
	raw, _ := asked.Content.([]byte)
	if named && len(raw) == 0 {
		return nil, errBadRequest
	}
	id, err := s.setGroupPicture(c.dev.acct, group.User, raw)
	if errors.Is(err, ErrPicture) {
		return nil, errNotAcceptable
	}
	if err != nil || raw == nil {
		return nil, err
	}
	return []waBinary.Node{{Tag: "picture", Attrs: waBinary.Attrs{"id": id}}}, nil
}

func (s *Server) groupPicture(a *account, id string, asked *waBinary.Node) (out []waBinary.Node, err error) {
	var picture string
	if err = s.viewGroup(id, func(g *groupRecord) error {
		if invite := text(asked, "invite"); g.member(a.number) == nil && (invite == "" || invite != g.Invite) {
			return errNotAuthorized
		}
		picture = g.PictureID
		return nil
	}); err != nil {
		return nil, err
	}
	return s.pictureNode(picture, asked)
}

// pictures answers a lookup of a community's picture, which comes as a query about the group.
func (q *groupQuery) pictures() ([]waBinary.Node, error) {
	asked := q.node.GetChildByTag("picture")
	out, err := q.s.groupPicture(q.actor, q.group, &asked)
	return []waBinary.Node{{Tag: "pictures", Content: out}}, err
}

// SetGroupPicture shows a JPEG, of at most 8 MiB, as the picture of a group and returns its id;
// nothing removes it.
func (p *Phone) SetGroupPicture(ctx context.Context, group string, raw []byte) (id string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	if id, err = p.acct.s.setGroupPicture(p.acct, groupID(group), raw); err != nil {
		return "", fmt.Errorf("set picture of %s: %w", group, err)
	}
	return id, nil
}

// GroupPicture returns the picture of a group, a JPEG; nothing when it has none.
func (s *Server) GroupPicture(group string) []byte {
	var id string
	_ = s.viewGroup(groupID(group), func(g *groupRecord) error { // a group that is not there has none
		id = g.PictureID
		return nil
	})
	if shown := s.picture(id); shown != nil {
		return shown.image
	}
	return nil
}
