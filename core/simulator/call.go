package simulator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrUnknownCall says that the phone knows no call with this id, or that it is over.
var ErrUnknownCall = errors.New("no such call")

// States of a [Call].
const (
	CallRinging  = "ringing"
	CallAccepted = "accepted"
	CallRejected = "rejected"
	CallEnded    = "ended"
)

// Call is a call that a phone made or got. Nothing is heard or seen in it: only what
// announces it is simulated.
type Call struct {
	ID string `json:"id"`
	// From is the number that calls, To the one that is called, or a group's JID.
	From string `json:"from"`
	To   string `json:"to"`
	// Video says that it is a video call.
	Video bool `json:"video"`
	// State is one of the Call constants; Reason is why it ended, as the other end put it.
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// over says that nothing more can become of the call.
func (c *Call) over() bool { return c.State == CallRejected || c.State == CallEnded }

// callNode is one event of a call, from one end of it (call.go of whatsmeow).
type callNode struct {
	s      *Server
	id     string
	caller *account
	group  types.JID // of a call to a group; empty for a call of two
}

func (n callNode) child(tag string, attrs waBinary.Attrs, content ...waBinary.Node) waBinary.Node {
	if attrs == nil {
		attrs = waBinary.Attrs{}
	}
	attrs["call-id"], attrs["call-creator"], attrs["caller_pn"] = n.id, n.caller.hidden(), n.caller.pn()
	if !n.group.IsEmpty() {
		attrs["group-jid"] = n.group
	}
	out := waBinary.Node{Tag: tag, Attrs: attrs}
	if content != nil {
		out.Content = content
	}
	return out
}

// stanza wraps an event that comes from a device.
func (n callNode) stanza(from *Device, child waBinary.Node) waBinary.Node {
	return waBinary.Node{
		Tag: "call",
		Attrs: waBinary.Attrs{
			"from": from.LID(), "id": n.s.stanzaID(), "t": strconv.FormatInt(n.s.now(), 10),
			"platform": "android", "version": "2.25.1.1", "notify": from.acct.pushName(),
		},
		Content: []waBinary.Node{child},
	}
}

// tell queues an event for all companions of an account, except by.
func (n callNode) tell(o *outgoing, a *account, from, by *Device, child waBinary.Node) {
	node := n.stanza(from, child)
	for _, d := range a.all()[1:] {
		if d != by {
			o.add(d, node)
		}
	}
}

// handleCall takes what a client says about a call: whatsmeow only rejects. The ends' phones
// learn of it, and so do the other devices of both.
func (s *Server) handleCall(c *conn, node *waBinary.Node) error {
	to, _ := node.Attrs["to"].(types.JID)
	children := node.GetChildren()
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{"class": "call", "id": text(node, "id"), "from": to}}
	if len(children) == 1 {
		child := children[0]
		ack.Attrs["type"] = child.Tag
		creator, _ := child.Attrs["call-creator"].(types.JID)
		caller := s.findAccount(creator)
		if child.Tag == "reject" && caller != nil {
			if err := s.rejectCall(c.dev, caller, text(&child, "call-id")); err != nil && !errors.Is(err, ErrUnknownCall) {
				return fmt.Errorf("reject call: %w", err)
			}
		}
	}
	c.push(ack)
	return nil
}

// rejectCall ends a call that rings on an account, by one of that account's devices.
func (s *Server) rejectCall(by *Device, caller *account, id string) error {
	call, n, err := caller.phone.openCall(context.Background(), id)
	if err != nil {
		return err
	}
	if !by.acct.phone.callTurns(id, CallRejected, "") {
		return ErrUnknownCall
	}
	if n.group.IsEmpty() { // the others of a group may still answer
		caller.phone.callTurns(call.ID, CallRejected, "")
	}
	o := s.outgoing(s.begin())
	n.tell(o, caller, by, nil, n.child("reject", waBinary.Attrs{"count": "0"}))
	n.tell(o, by.acct, caller.phone.dev, by, n.child("terminate", waBinary.Attrs{"reason": "rejected_elsewhere"}))
	return o.commit()
}

// Call calls a number, or everybody in a group, and returns the call's id. It rings until
// somebody rejects or answers it, or the phone ends it.
func (p *Phone) Call(ctx context.Context, to string, video bool) (id string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	chat, err := p.acct.s.chat(to)
	if err != nil {
		return "", err
	}
	callees, n, err := p.callees(chat)
	if err != nil {
		return "", err
	}
	call := Call{ID: n.id, From: p.acct.number, To: chat.name, Video: video, State: CallRinging, Time: p.acct.s.opts.Clock().UTC()}
	o := p.acct.s.outgoing(p.acct.s.begin())
	for _, a := range callees {
		a.phone.callComes(call)
		if n.group.IsEmpty() {
			n.tell(o, a, p.dev, nil, n.offer(video))
			n.tell(o, a, p.dev, nil, n.child("relaylatency", waBinary.Attrs{"transaction-id": "0"}))
			continue
		}
		media := map[bool]string{true: "video", false: "audio"}[video]
		n.tell(o, a, p.dev, nil, n.child("offer_notice", waBinary.Attrs{"media": media, "type": "group"}))
	}
	p.callComes(call)
	return n.id, o.commit()
}

func (n callNode) offer(video bool) waBinary.Node {
	content := []waBinary.Node{
		{Tag: "audio", Attrs: waBinary.Attrs{"enc": "opus", "rate": "16000"}},
		{Tag: "net", Attrs: waBinary.Attrs{"medium": "3"}},
		{Tag: "encopt", Attrs: waBinary.Attrs{"keygen": "2"}},
	}
	if video {
		content = append(content, waBinary.Node{Tag: "video", Attrs: waBinary.Attrs{"enc": "vp8", "dec": "vp8"}})
	}
	return n.child("offer", nil, content...)
}

// callees are the accounts that a call of the phone to a chat rings on.
func (p *Phone) callees(chat chatRef) ([]*account, callNode, error) {
	n := callNode{s: p.acct.s, id: newCallID(), caller: p.acct}
	if chat.peer != nil {
		if chat.peer == p.acct {
			return nil, n, fmt.Errorf("%s: %w", chat.name, ErrChat)
		}
		return []*account{chat.peer}, n, nil
	}
	n.group = chat.jid
	members, err := p.acct.s.groupMembers(p.acct, chat.jid)
	if err != nil {
		return nil, n, fmt.Errorf("call %s: %w", chat.name, err)
	}
	return slices.DeleteFunc(members, func(a *account) bool { return a == p.acct }), n, nil
}

// EndCall ends a call that the phone made, or one that it answered; reason, such as "timeout",
// is what the other end is told, and may be empty.
func (p *Phone) EndCall(ctx context.Context, id, reason string) error {
	call, n, err := p.openCall(ctx, id)
	if err != nil {
		return err
	}
	o := p.acct.s.outgoing(p.acct.s.begin())
	var attrs waBinary.Attrs
	if reason != "" {
		attrs = waBinary.Attrs{"reason": reason}
	}
	child := n.child("terminate", attrs)
	for _, a := range p.otherEnds(call) {
		a.phone.callTurns(id, CallEnded, reason)
		n.tell(o, a, p.dev, nil, child)
	}
	p.callTurns(id, CallEnded, reason)
	return o.commit()
}

// AnswerCall answers a call that rings on the phone: it stops ringing on its companions.
func (p *Phone) AnswerCall(ctx context.Context, id string) error {
	call, n, err := p.openCall(ctx, id)
	if err != nil {
		return err
	}
	if call.From == p.acct.number || call.State != CallRinging {
		return fmt.Errorf("answer %s: %w", id, ErrUnknownCall)
	}
	o := p.acct.s.outgoing(p.acct.s.begin())
	n.caller.phone.callTurns(id, CallAccepted, "")
	p.callTurns(id, CallAccepted, "")
	n.tell(o, n.caller, p.dev, nil, n.child("preaccept", nil))
	n.tell(o, n.caller, p.dev, nil, n.child("accept", nil))
	n.tell(o, n.caller, p.dev, nil, n.child("transport", waBinary.Attrs{"transport-message-type": "1"}))
	n.tell(o, p.acct, n.caller.phone.dev, nil, n.child("terminate", waBinary.Attrs{"reason": "accepted_elsewhere"}))
	return o.commit()
}

// RejectCall rejects a call that rings on the phone.
func (p *Phone) RejectCall(ctx context.Context, id string) error {
	call, n, err := p.openCall(ctx, id)
	if err != nil {
		return err
	}
	if call.From == p.acct.number {
		return fmt.Errorf("reject %s: %w", id, ErrUnknownCall)
	}
	return p.acct.s.rejectCall(p.dev, n.caller, id)
}

// Calls are the calls that the phone made or got since the server started, oldest first.
func (p *Phone) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// WaitCall waits for a call that match accepts.
func (p *Phone) WaitCall(ctx context.Context, match func(Call) bool) (found Call, err error) {
	err = p.wait(ctx, "a call", func() bool {
		i := slices.IndexFunc(p.calls, match)
		if i >= 0 {
			found = p.calls[i]
		}
		return i >= 0
	})
	return found, err
}

// openCall finds a call that is not over.
func (p *Phone) openCall(ctx context.Context, id string) (Call, callNode, error) {
	if err := ctx.Err(); err != nil {
		return Call{}, callNode{}, err
	}
	p.mu.Lock()
	i := slices.IndexFunc(p.calls, func(c Call) bool { return c.ID == id && !c.over() })
	var call Call
	if i >= 0 {
		call = p.calls[i]
	}
	p.mu.Unlock()
	caller := p.acct.s.account(call.From)
	if caller == nil {
		return call, callNode{}, fmt.Errorf("%s: %w", id, ErrUnknownCall)
	}
	n := callNode{s: p.acct.s, id: id, caller: caller}
	if jid, err := types.ParseJID(call.To); err == nil && jid.Server == types.GroupServer {
		n.group = jid
	}
	return call, n, nil
}

// otherEnds are the accounts at the other end of a call.
func (p *Phone) otherEnds(c Call) []*account {
	if c.From != p.acct.number {
		return []*account{p.acct.s.account(c.From)}
	}
	jid, err := types.ParseJID(c.To)
	if err != nil || jid.Server != types.GroupServer {
		return []*account{p.acct.s.account(c.To)}
	}
	members, _ := p.acct.s.groupMembers(p.acct, jid) // who left cannot tell the others
	return slices.DeleteFunc(members, func(a *account) bool { return a == p.acct })
}

func (p *Phone) callComes(c Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	p.notify()
}

// callTurns changes the state of a call that is not over; false when the phone has none.
func (p *Phone) callTurns(id, state, reason string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.calls {
		if c := &p.calls[i]; c.ID == id && !c.over() {
			c.State, c.Reason = state, reason
			p.notify()
			return true
		}
	}
	return false
}

// newCallID makes an id as WhatsApp does: 32 hex digits.
func newCallID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return strings.ToUpper(hex.EncodeToString(b[:]))
}
