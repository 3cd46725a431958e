package pipeline

import (
	"context"
	"time"

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
	// verdict: a rule that failed contributes nothing, and the others go on. A
	// DisabledError says that it was not run.
	Eval(ctx context.Context, ev *sdk.Event) (Verdict, error)
}

// DisabledError is the error of a rule that would have run, and is disabled.
type DisabledError struct {
	// Reason says why it is, for operators.
	Reason string
}

// Error implements error.
func (e *DisabledError) Error() string { return "the rule is disabled: " + e.Reason }

// RuleSet is the rules in force, which may be replaced by others at any moment.
type RuleSet interface {
	// Acquire returns what is in force now. It stays usable until its Release, whatever
	// comes into force meanwhile, so that an event ends on the rules it began with.
	Acquire() InForce
}

// InForce is a set of rules at one moment.
type InForce struct {
	// Rules run in this order. The slice is not to be changed.
	Rules []Rule
	// Version names the set in verdicts; "" if it has no name.
	Version string
	Replies ReplyLimits
	// Release ends the use, once; nil if nobody wants to know.
	Release func()
}

// ReplyLimits bound what rules send; 0 is no bound.
type ReplyLimits struct {
	// MaxAge is how old a message may be to be answered.
	MaxAge time.Duration
	// PerMinute is the most automatic replies in one chat in a minute.
	PerMinute int
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
