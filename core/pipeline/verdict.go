package pipeline

import (
	"encoding/json"
	"fmt"
)

// plan is the stored verdict of all rules on one event: everything that has to be
// known to write its children again, bit by bit the same. Rules never run again
// for an event that has one, so a reload, a clock or a random number cannot change
// what a repetition does.
type plan struct {
	Version int `json:"v"`
	// RuleSet is the version of the rules that decided.
	RuleSet string `json:"ruleSet,omitempty"`
	// Drop: no connector gets the event.
	Drop bool `json:"drop,omitempty"`
	// Tags were put on the event.
	Tags []string `json:"tags,omitempty"`
	// Rules lists the rules that matched.
	Rules []ruleRun `json:"rules,omitempty"`
	// Routes are the connectors that rules named; Unrouted are those of them that there
	// is no endpoint for, or that do not want this event.
	Routes   []string `json:"routes,omitempty"`
	Unrouted []string `json:"unrouted,omitempty"`
	// Endpoints are the ids of those that get the event.
	Endpoints []string `json:"endpoints,omitempty"`
	// Sends are rendered and carry their ids.
	Sends []plannedSend `json:"sends,omitempty"`
}

// ruleRun says how one rule ended.
type ruleRun struct {
	Rule string `json:"rule"`
	// Result is ok, failed, suppressed (its replies were held back, see Note) or disabled
	// (it would have run; Note says why it did not).
	Result string `json:"result"`
	Note   string `json:"note,omitempty"`
	// Unrouted are those of the connectors that it named which do not get the event.
	Unrouted []string `json:"unrouted,omitempty"`

	routes []string // that it named
}

// plannedSend is one message to send.
type plannedSend struct {
	ID      string `json:"id"`
	WAID    string `json:"wa_id"`
	Chat    string `json:"chat"`
	To      string `json:"to"`
	Rule    string `json:"rule"`
	Index   int    `json:"index"`
	Payload []byte `json:"payload"`
}

const planVersion = 1

func (p *plan) encode() ([]byte, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode verdict: %w", err)
	}
	return b, nil
}

func decodePlan(b []byte) (*plan, error) {
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode stored verdict: %w", err)
	}
	if p.Version > planVersion {
		return nil, fmt.Errorf("stored verdict has version %d, this program knows %d", p.Version, planVersion)
	}
	return &p, nil
}
