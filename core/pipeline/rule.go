package pipeline

import (
	"context"

	"github.com/wildcathub/wildcat/sdk"
)

// Rule decides what an event causes. Rules run in their configured order, one
// event of a chat at a time. An implementation must be safe for concurrent use by
// different chats.
type Rule interface {
	// Name is stable across reloads: it is part of the ids of what the rule sends.
	Name() string
	// Match is the cheap test (type, prefix, chat …) that is made for every event.
	Match(ev *sdk.Event) bool
	// Eval runs the rule. The event must not be changed. An error discards the
	// verdict: a rule that failed contributes nothing, and the others go on.
	Eval(ctx context.Context, ev *sdk.Event) (Verdict, error)
}

// RuleSet is the rules in force. Rules returns them in order; the slice is not changed afterwards.
type RuleSet interface {
	Rules() []Rule
}

// Verdict is what one rule wants done.
type Verdict struct {
	// Drop: the event goes to no connector and later rules do not run.
	Drop bool
	// Routes names connectors; if any rule names one, only those named get the event.
	Routes []string
	// Actions are carried out in order.
	Actions []Action
	// Tags are put on the event.
	Tags []string
}

// ActionKind names an action.
type ActionKind string

// The action kinds.
const (
	// ActionReply writes into the event's chat, quoting the event's message if Quote is set.
	ActionReply ActionKind = "reply"
	// ActionSend writes to another chat, To.
	ActionSend ActionKind = "send"
)

// Action is something to send. It is rendered to a protobuf and given its WhatsApp
// id before it is stored, so that a repetition is the same message.
type Action struct {
	Kind ActionKind
	// To is a JID or phone number, for ActionSend.
	To   string
	Text string
	// Quote answers the event's message visibly.
	Quote bool
	// Mentions are JIDs.
	Mentions []string
}
