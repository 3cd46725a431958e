package seed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Apply makes what is not there yet and sets what is set differently; it removes nothing.
// So the same file may be applied at each start over a folder that keeps the state.
func (s *Seed) Apply(ctx context.Context, server *simulator.Server) error {
	for _, p := range s.Phones { // all numbers first: contacts and groups name them
		_, err := server.AddPhone(p.Number, p.Name)
		if err != nil && !errors.Is(err, simulator.ErrNumberTaken) {
			return fmt.Errorf("seed phone %s: %w", p.Number, err)
		}
	}
	for _, p := range s.Phones {
		if err := p.apply(ctx, server.Phone(p.Number)); err != nil {
			return fmt.Errorf("seed phone %s: %w", p.Number, err)
		}
	}
	for _, g := range s.Groups {
		if err := g.apply(ctx, server); err != nil {
			return fmt.Errorf("seed group %q: %w", g.Subject, err)
		}
	}
	for _, f := range s.Faults {
		if _, err := server.AddFault(f); err != nil {
			return fmt.Errorf("seed fault: %w", err)
		}
	}
	return nil
}

func (p *Phone) apply(ctx context.Context, phone *simulator.Phone) error {
	if p.Name != "" && phone.Name() != p.Name {
		if err := phone.SetPushName(ctx, p.Name); err != nil {
			return err
		}
	}
	if p.About != "" && phone.About() != p.About {
		if err := phone.SetAbout(ctx, p.About); err != nil {
			return err
		}
	}
	if p.Picture != "" {
		data, err := os.ReadFile(p.Picture)
		if err != nil {
			return fmt.Errorf("picture: %w", err)
		}
		if _, set := phone.Picture(); !bytes.Equal(set, data) {
			if _, err = phone.SetPicture(ctx, data); err != nil {
				return fmt.Errorf("picture %s: %w", p.Picture, err)
			}
		}
	}
	if p.Business != nil {
		if err := phone.SetBusiness(ctx, p.Business); err != nil {
			return err
		}
	}
	for _, c := range p.Contacts {
		saved := slices.ContainsFunc(phone.Contacts(), func(s simulator.SavedContact) bool {
			return s.Number == c.Number && s.FullName == c.Name
		})
		if !saved {
			if err := phone.SetContact(ctx, c.Number, c.Name, ""); err != nil {
				return fmt.Errorf("contact %s: %w", c.Number, err)
			}
		}
	}
	if len(p.Replies) == 0 {
		return nil
	}
	rules := make([]simulator.Reply, len(p.Replies))
	for i, r := range p.Replies {
		rules[i] = simulator.Reply{Pattern: r.Pattern, Text: r.Reply}
	}
	return phone.SetReplies(rules)
}

// apply makes the group, or what it lacks: the owner's of this subject is taken for it.
func (g *Group) apply(ctx context.Context, server *simulator.Server) error {
	owner := server.Phone(g.Owner)
	var found *simulator.Group
	for _, known := range server.Groups() {
		if known.Creator == owner.Number() && known.Subject == g.Subject {
			found = &known
		}
	}
	if found == nil {
		jid, err := owner.CreateGroup(ctx, g.Subject, g.Members...)
		if err != nil {
			return err
		}
		made, err := server.Group(jid)
		if err != nil {
			return err
		}
		found = &made
	}
	have, admins := map[string]bool{}, map[string]bool{}
	for _, m := range found.Members {
		have[m.Number], admins[m.Number] = true, m.Admin
	}
	for _, n := range g.Members {
		if !have[n] {
			if err := owner.GroupAdd(ctx, found.JID, n); err != nil {
				return err
			}
		}
	}
	for _, n := range g.Admins {
		if !admins[n] {
			if err := owner.GroupPromote(ctx, found.JID, n); err != nil {
				return err
			}
		}
	}
	if g.Description != "" && found.Description != g.Description {
		return owner.SetDescription(ctx, found.JID, g.Description)
	}
	return nil
}
