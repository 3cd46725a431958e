package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrPrivacy says that there is no such privacy setting, or not with this value.
var ErrPrivacy = errors.New("no such privacy setting")

// privacyCategories are the settings and their values, in the order in which the server
// lists them; the first value is the default (whatsmeow's types/user.go).
func privacyCategories() (names []string, values map[string][]string) {
	people := []string{"all", "contacts", "contact_blacklist", "none"}
	return []string{"groupadd", "last", "status", "profile", "readreceipts", "online", "calladd"},
		map[string][]string{
			"groupadd": people, "last": people, "status": people, "profile": people,
			"readreceipts": {"all", "none"}, "online": {"all", "match_last_seen"}, "calladd": {"all", "known"},
		}
}

// privacy returns the value of a category.
func (r *profileRecord) privacy(category string) string {
	if v := r.Privacy[category]; v != "" {
		return v
	}
	return "all"
}

// shows says whether the account lets another see what a category guards. Nobody that
// it blocked sees anything.
func (a *account) shows(category string, to *account) bool {
	if a == to {
		return true
	}
	rec := a.look()
	if to == nil || slices.ContainsFunc(rec.Blocked, to.isNamed) {
		return false
	}
	switch rec.privacy(category) {
	case "all":
		return true
	case "contacts", "contact_blacklist":
		return a.state.knows(to)
	}
	return false
}

// handlePrivacy reads and sets the account's privacy (whatsmeow's privacysettings.go).
func (s *Server) handlePrivacy(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	a := c.dev.acct
	asked := iq.GetChildByTag("privacy")
	if iq.Attrs["type"] == "set" {
		settings := map[string]string{}
		for _, category := range asked.GetChildren() {
			settings[text(&category, "name")] = text(&category, "value")
		}
		err := a.setPrivacy(settings, c.dev)
		if errors.Is(err, ErrPrivacy) {
			err = errBadRequest
		}
		if err != nil {
			return nil, err
		}
	}
	rec := a.look()
	names, _ := privacyCategories()
	var content []waBinary.Node
	for _, name := range names {
		content = append(content, privacyNode(name, rec.privacy(name)))
	}
	return []waBinary.Node{{Tag: "privacy", Content: content}}, nil
}

func privacyNode(name, value string) waBinary.Node {
	return waBinary.Node{Tag: "category", Attrs: waBinary.Attrs{"name": name, "value": value}}
}

// setPrivacy sets categories; by is the companion that did, nil for the phone.
func (a *account) setPrivacy(settings map[string]string, by *Device) error {
	_, values := privacyCategories()
	var content []waBinary.Node
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !slices.Contains(values[name], settings[name]) {
			return fmt.Errorf("%q to %q: %w", name, settings[name], ErrPrivacy)
		}
		content = append(content, privacyNode(name, settings[name]))
	}
	if content == nil {
		return ErrPrivacy
	}
	return a.change(func(rec *profileRecord, o *outgoing) error {
		if rec.Privacy == nil {
			rec.Privacy = map[string]string{}
		}
		maps.Copy(rec.Privacy, settings)
		o.tellOwn(a, by, waBinary.Node{Tag: "privacy", Content: content})
		return nil
	})
}

// SetPrivacy sets who may see or do something: groupadd, last, status and profile take
// all, contacts, contact_blacklist and none, readreceipts takes all and none, online takes
// all and match_last_seen, calladd takes all and known.
func (p *Phone) SetPrivacy(ctx context.Context, category, value string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.setPrivacy(map[string]string{category: value}, nil)
}

// Privacy returns all privacy settings.
func (p *Phone) Privacy() map[string]string {
	rec, out := p.acct.look(), map[string]string{}
	names, _ := privacyCategories()
	for _, name := range names {
		out[name] = rec.privacy(name)
	}
	return out
}

// handleBlocklist reads and changes whom the account blocked (whatsmeow's user.go,
// GetBlocklist and UpdateBlocklist).
func (s *Server) handleBlocklist(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	a := c.dev.acct
	if iq.Attrs["type"] == "set" {
		item := iq.GetChildByTag("item")
		jid, ok := item.Attrs["jid"].(types.JID)
		action := text(&item, "action")
		if !ok || action != "block" && action != "unblock" {
			return nil, errBadRequest
		}
		if err := a.setBlocked(jid.ToNonAD(), action == "block", c.dev); err != nil {
			return nil, err
		}
	}
	list := a.look().Blocked
	var items []waBinary.Node
	for _, name := range list {
		jid, err := types.ParseJID(name)
		if err != nil {
			return nil, fmt.Errorf("block list: %w", err)
		}
		items = append(items, waBinary.Node{Tag: "item", Attrs: waBinary.Attrs{"jid": jid}})
	}
	return []waBinary.Node{{Tag: "list", Attrs: waBinary.Attrs{"dhash": listHash(list)}, Content: items}}, nil
}

// setBlocked blocks or unblocks; by is the companion that did, nil for the phone.
func (a *account) setBlocked(jid types.JID, block bool, by *Device) error {
	other := a.s.findAccount(jid)
	return a.change(func(rec *profileRecord, o *outgoing) error {
		before := listHash(rec.Blocked)
		rec.Blocked = slices.DeleteFunc(rec.Blocked, func(name string) bool {
			return name == jid.String() || other != nil && other.isNamed(name)
		})
		action := "unblock"
		if block {
			rec.Blocked, action = append(rec.Blocked, jid.String()), "block"
		}
		o.tellOwn(a, by, waBinary.Node{
			Tag:     "blocklist",
			Attrs:   waBinary.Attrs{"dhash": listHash(rec.Blocked), "prev_dhash": before},
			Content: []waBinary.Node{{Tag: "item", Attrs: waBinary.Attrs{"jid": jid, "action": action}}},
		})
		return nil
	})
}

// blocks says whether the account blocked another: nothing that the other sends arrives.
func (a *account) blocks(other *account) bool {
	a.profile.mu.Lock()
	defer a.profile.mu.Unlock()
	return a != other && slices.ContainsFunc(a.profile.rec.Blocked, other.isNamed)
}

// Block stops everything that comes from a number.
func (p *Phone) Block(ctx context.Context, number string) error {
	return p.setBlocked(ctx, number, true)
}

// Unblock undoes Block.
func (p *Phone) Unblock(ctx context.Context, number string) error {
	return p.setBlocked(ctx, number, false)
}

func (p *Phone) setBlocked(ctx context.Context, number string, block bool) error {
	number, err := cleanNumber(number)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return p.acct.setBlocked(types.NewJID(number, types.DefaultUserServer), block, nil)
}

// Blocked returns the numbers that are blocked, in the order of their blocking; a JID as
// text where the number is not known.
func (p *Phone) Blocked() []string {
	list := p.acct.look().Blocked
	for i, name := range list {
		jid, err := types.ParseJID(name)
		if err != nil {
			continue
		}
		if a := p.acct.s.findAccount(jid); a != nil {
			list[i] = a.number
		} else if jid.Server == types.DefaultUserServer {
			list[i] = jid.User
		}
	}
	return list
}

// listHash is by what clients tell whether a list has changed.
func listHash(list []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(list)), ",")))
	return base64.RawStdEncoding.EncodeToString(sum[:9])
}
