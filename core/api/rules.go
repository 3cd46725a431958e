package api

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Rules shows the rules in force, and puts others into force.
type Rules interface {
	// RuleStatus shows what is in force on this hub.
	RuleStatus() RulesStatus
	// RuleVersions lists the versions that are kept, the one in force first.
	RuleVersions(ctx context.Context) ([]RuleVersion, error)
	// ReloadRules reads this hub's files again, and RollbackRules takes a version that is
	// kept ("" for the one before the present); both put it into force on all hubs. Mistakes
	// in the rules are RuleMistakes; other errors wrap ErrRuleVersion or ErrRuleVersionAmbiguous.
	ReloadRules(ctx context.Context) (RulesChange, error)
	RollbackRules(ctx context.Context, version string) (RulesChange, error)
}

// RuleVersion is rules that are or were in force.
type RuleVersion struct {
	// Version is a hash of the rules; Number counts the changes of all hubs together.
	Version string
	Number  uint64
	// Since is when it came into force for the last time, Hub where that was asked for ("" for
	// the only hub), and Cause is start, reload or rollback.
	Since time.Time
	Hub   string
	Cause string
	// Count is how many rules there are in it.
	Count int
}

// RulesStatus is what is in force on a hub.
type RulesStatus struct {
	RuleVersion
	Rules []RuleStatus
	// Behind says that other hubs have rules in force which this one cannot load; Failure is
	// the last reload or rollback that was asked for here, if nothing came of it.
	Behind, Failure *RulesFailure
}

// RulesFailure is a change of the rules that did not come into force.
type RulesFailure struct {
	At time.Time
	// Version is that of the rules; "" if they have none yet.
	Version string
	// Error is for operators; it must not hold a secret.
	Error string
}

// RulesChange is what came of a reload or rollback.
type RulesChange struct {
	RuleVersion
	// Before is the version that was in force.
	Before string
	// Restart names sections of the configuration that have changed, too, and are in force
	// after a restart only.
	Restart []string
}

// RuleStatus is one rule.
type RuleStatus struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Enabled bool   `json:"enabled"`
	// State is a stable word such as active or disabled, and Reason says why.
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"`
	Runs     uint64 `json:"runs"`
	Failures uint64 `json:"failures"`
	// FailuresInARow are those since the last success, and FailingChats how many chats, of
	// different people, they come from: from a number of chats on the rule is disabled.
	FailuresInARow int `json:"failuresInARow"`
	FailingChats   int `json:"failingChats"`
	// LastError is the last failure's text, without message contents.
	LastError string `json:"lastError,omitempty"`
}

// RuleMistakes are what is wrong with rules that were to come into force, a line or a
// paragraph each.
type RuleMistakes []string

// Error implements error.
func (m RuleMistakes) Error() string { return strings.Join(m, "\n") }

// What can be wrong with the version that a rollback names.
var (
	ErrRuleVersion          = errors.New("no such version of the rules")
	ErrRuleVersionAmbiguous = errors.New("more than one version of the rules begins like that")
)
