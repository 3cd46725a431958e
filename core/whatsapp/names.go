package whatsapp

import (
	"context"

	"go.mau.fi/whatsmeow/types"
)

// directory knows the two names, phone number and LID, that a person has.
type directory interface {
	GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error)
	GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error)
}

// names are a person's two names, as far as they are known, without device part.
type names struct{ pn, lid types.JID }

// best is the phone number if it is known.
func (n names) best() string {
	if !n.pn.IsEmpty() {
		return n.pn.String()
	}
	return text(n.lid)
}

// other is the LID if best is the phone number, else "".
func (n names) other() string {
	if n.pn.IsEmpty() {
		return ""
	}
	return text(n.lid)
}

// text is "" for no JID at all (types gives the bare server).
func text(j types.JID) string {
	if j.IsEmpty() || j.User == "" {
		return ""
	}
	return j.String()
}

// plain drops the device part, and what says that a device is hosted.
func plain(j types.JID) types.JID {
	j = j.ToNonAD()
	switch j.Server {
	case types.HostedServer, types.LegacyUserServer:
		j.Server = types.DefaultUserServer
	case types.HostedLIDServer:
		j.Server = types.HiddenUserServer
	}
	return j
}

// person finds the two names of someone whom a stanza calls by these; a missing one is
// looked up. ok is false when they are no person's.
func (c *converter) person(ctx context.Context, jids ...types.JID) (n names, ok bool, err error) {
	for _, j := range jids {
		switch j = plain(j); {
		case j.User == "":
		case j.Server == types.DefaultUserServer && n.pn.IsEmpty():
			n.pn = j
		case j.Server == types.HiddenUserServer && n.lid.IsEmpty():
			n.lid = j
		}
	}
	switch {
	case c.directory == nil:
	case n.pn.IsEmpty() && !n.lid.IsEmpty():
		n.pn, err = c.directory.GetPNForLID(ctx, n.lid)
	case n.lid.IsEmpty() && !n.pn.IsEmpty():
		n.lid, err = c.directory.GetLIDForPN(ctx, n.pn)
	}
	n.pn, n.lid = plain(n.pn), plain(n.lid)
	return n, !n.pn.IsEmpty() || !n.lid.IsEmpty(), err
}

// isMe says whether j is one of the account's own names.
func (c *converter) isMe(j types.JID) bool {
	j = plain(j)
	return j.User != "" && (j == c.own.pn || j == c.own.lid)
}

// called gives the preferred name of someone whom a stanza calls j.
func (c *converter) called(ctx context.Context, j types.JID) (string, error) {
	if j.IsEmpty() {
		return "", nil
	}
	n, ok, err := c.person(ctx, j)
	if err != nil {
		return "", err
	}
	if !ok {
		return text(plain(j)), nil
	}
	return n.best(), nil
}
