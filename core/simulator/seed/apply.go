package seed

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Apply makes what is not there yet. A phone that is there, and a group of the same owner and
// subject, is left alone entirely: what was changed by hand since stays changed. So the same
// file may be applied at each start over a folder that keeps the state.
func (s *Seed) Apply(ctx context.Context, server *simulator.Server) error {
	made := map[string]*simulator.Phone{}
	for _, p := range s.Phones { // all numbers first: contacts and groups name them
		switch phone, err := server.AddPhone(p.Number, p.Name); {
		case err == nil:
			made[p.Number] = phone
		case !errors.Is(err, simulator.ErrNumberTaken):
			return fmt.Errorf("seed phone %s: %w", p.Number, err)
		}
	}
	for _, p := range s.Phones {
		if made[p.Number] == nil {
			continue
		}
		if err := p.apply(ctx, made[p.Number]); err != nil {
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
	if p.About != "" {
		if err := phone.SetAbout(ctx, p.About); err != nil {
			return err
		}
	}
	if p.Picture != "" {
		data, err := os.ReadFile(p.Picture)
		if err != nil {
			return fmt.Errorf("picture: %w", err)
		}
		if _, err = phone.SetPicture(ctx, data); err != nil {
			return fmt.Errorf("picture %s: %w", p.Picture, err)
		}
	}
	if p.Business != nil {
		if err := phone.SetBusiness(ctx, p.Business); err != nil {
			return err
		}
	}
	for _, c := range p.Contacts {
		if err := phone.SetContact(ctx, c.Number, c.Name, ""); err != nil {
			return fmt.Errorf("contact %s: %w", c.Number, err)
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

// apply makes the group, unless the owner has made one of this subject.
func (g *Group) apply(ctx context.Context, server *simulator.Server) error {
	owner := server.Phone(g.Owner)
	for _, known := range server.Groups() {
		if known.Creator == owner.Number() && known.Subject == g.Subject {
			return nil
		}
	}
	jid, err := owner.CreateGroup(ctx, g.Subject, g.Members...)
	if err != nil {
		return err
	}
	if len(g.Admins) > 0 {
		if err = owner.GroupPromote(ctx, jid, g.Admins...); err != nil {
			return err
		}
	}
	if g.Description == "" {
		return nil
	}
	return owner.SetDescription(ctx, jid, g.Description)
}
