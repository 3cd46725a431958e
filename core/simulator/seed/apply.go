package seed

import (
	"context"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Apply makes what is not there yet and sets what is set differently; it removes nothing.
// So the same file may be applied at each start over a folder that keeps the state.
func (s *Seed) Apply(ctx context.Context, server *simulator.Server) error {
	for _, p := range s.Phones {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.apply(server); err != nil {
			return fmt.Errorf("seed phone %s: %w", p.Number, err)
		}
	}
	return nil
}

func (p *Phone) apply(server *simulator.Server) error {
	phone, err := server.AddPhone(p.Number, p.Name)
	if errors.Is(err, simulator.ErrNumberTaken) {
		phone, err = server.Phone(p.Number), nil
	}
	if err != nil || len(p.Replies) == 0 {
		return err
	}
	rules := make([]simulator.Reply, len(p.Replies))
	for i, r := range p.Replies {
		rules[i] = simulator.Reply{Pattern: r.Pattern, Text: r.Reply}
	}
	return phone.SetReplies(rules)
}
