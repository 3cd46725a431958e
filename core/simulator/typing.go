package simulator

import (
	"context"
	"errors"
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrTyping says that a state is none of composing, recording and paused.
var ErrTyping = errors.New("no such typing state")

// Typing is what somebody does in a chat.
type Typing string

// The states of Typing.
const (
	Composing Typing = "composing"
	Recording Typing = "recording" // a voice message
	Paused    Typing = "paused"
)

// handleChatState forwards what a client does in a chat to whoever is available. It is
// never queued (whatsmeow's presence.go, SendChatPresence).
func (s *Server) handleChatState(c *conn, node *waBinary.Node) error {
	to, _ := node.Attrs["to"].(types.JID)
	children := node.GetChildren()
	if len(children) != 1 {
		return nil
	}
	state := Typing(children[0].Tag)
	if state == Composing && text(&children[0], "media") == "audio" {
		state = Recording
	}
	if state != Composing && state != Recording && state != Paused {
		return nil
	}
	s.forwardTyping(c.dev.acct, to, state)
	return nil
}

// forwardTyping tells a chat what an account does in it; a chat that does not exist, or
// that the account is not part of, is told nothing.
func (s *Server) forwardTyping(from *account, to types.JID, state Typing) {
	child := waBinary.Node{Tag: string(state)}
	if state == Recording {
		child = waBinary.Node{Tag: string(Composing), Attrs: waBinary.Attrs{"media": "audio"}}
	}
	if to.Server != types.GroupServer {
		other := s.findAccount(to)
		if other == nil || other == from || other.blocks(from) {
			return
		}
		s.showTyping(typingKey{from.number, other.number}, state, []*account{other}, waBinary.Node{
			Tag: "chatstate", Attrs: waBinary.Attrs{"from": from.as(isHidden(to))}, Content: []waBinary.Node{child},
		})
		return
	}
	err := s.viewGroup(to.User, func(g *groupRecord) error {
		if g.member(from.number) == nil {
			return ErrNotMember
		}
		s.showTyping(typingKey{from.number, to.String()}, state, g.accounts(s), waBinary.Node{
			Tag: "chatstate", Attrs: waBinary.Attrs{"from": to, "participant": from.as(g.ByLID)}, Content: []waBinary.Node{child},
		})
		return nil
	})
	if err != nil {
		s.log.Debug("typing in no group of the number", "account", from.number, "err", err)
	}
}

// showTyping notes what somebody does, for phones, and tells the available companions of
// accounts, other than the one that does it.
func (s *Server) showTyping(key typingKey, state Typing, to []*account, node waBinary.Node) {
	told := map[*account]bool{}
	for _, a := range to {
		told[a] = a.number != key.from
	}
	p := &s.presences
	p.mu.Lock()
	p.typing[key] = state
	p.notify()
	var there []*Device
	for d := range p.available {
		if told[d.acct] {
			there = append(there, d)
		}
	}
	p.mu.Unlock()
	for _, d := range there {
		if c := d.connection(); c != nil {
			c.push(node)
		}
	}
}

// Typing shows a chat, a number or a group's JID, what the phone does in it.
func (p *Phone) Typing(ctx context.Context, chat string, state Typing) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if state != Composing && state != Recording && state != Paused {
		return fmt.Errorf("%q: %w", state, ErrTyping)
	}
	ref, err := p.acct.s.chat(chat)
	if err != nil {
		return err
	}
	p.acct.s.forwardTyping(p.acct, ref.as(p.migrated()), state)
	return nil
}

// TypingOf is what a number last showed this phone that it does in their chat; empty for nothing.
func (p *Phone) TypingOf(number string) Typing {
	return p.acct.s.typing(typingKey{number, p.acct.number})
}

// TypingIn is what a number last showed a group, named by its JID, that it does there.
func (p *Phone) TypingIn(group, number string) Typing {
	return p.acct.s.typing(typingKey{number, group})
}

func (s *Server) typing(key typingKey) Typing {
	s.presences.mu.Lock()
	defer s.presences.mu.Unlock()
	return s.presences.typing[key]
}

// WaitTyping waits until a number shows this phone a state in their chat.
func (p *Phone) WaitTyping(ctx context.Context, number string, state Typing) error {
	return p.acct.s.presences.wait(ctx, "typing", func() bool { return p.TypingOf(number) == state })
}

// WaitTypingIn waits until a number shows a group a state.
func (p *Phone) WaitTypingIn(ctx context.Context, group, number string, state Typing) error {
	return p.acct.s.presences.wait(ctx, "typing", func() bool { return p.TypingIn(group, number) == state })
}
