package lua

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

// Fixture is a file scripts/<rule>.test.json: events, and what the rule beside it has
// to do with each.
type Fixture struct {
	// Rule is the Lua file, relative to the fixture; default <name>.lua for
	// <name>.test.json.
	Rule string `json:"rule,omitempty"`
	// Now is the clock of all cases; default the time of each event.
	Now time.Time `json:"now,omitzero"`
	// Cases run one after another on one machine, as a chat's messages do.
	Cases []Case `json:"cases"`
}

// Case is one event and its expectation. What the event leaves out is filled in: a
// text message from a stranger to account "main".
type Case struct {
	Name  string    `json:"name"`
	Event sdk.Event `json:"event"`
	Want  Want      `json:"want"`
}

// Want is what the rule has to do; empty: nothing at all.
type Want struct {
	Actions []WantAction `json:"actions,omitempty"`
	Drop    bool         `json:"drop,omitempty"`
	Routes  []string     `json:"routes,omitempty"`
	Tags    []string     `json:"tags,omitempty"`
	// Error is a part of the error that the rule has to end with.
	Error string `json:"error,omitempty"`
}

// WantAction is a pipeline.Action; Kind defaults to reply.
type WantAction struct {
	Kind     pipeline.ActionKind `json:"kind,omitempty"`
	To       string              `json:"to,omitempty"`
	Text     string              `json:"text"`
	Quote    bool                `json:"quote,omitempty"`
	Mentions []string            `json:"mentions,omitempty"`
}

// CaseResult is how one case ended; Problem is "" when it passed.
type CaseResult struct {
	Name, Problem string
	Took          time.Duration
}

// TestFile runs a fixture file through the same limits as in service, with no side
// effect. The error says that the fixture or the rule cannot be loaded.
func TestFile(path string, lim Limits) ([]CaseResult, error) {
	fx, err := readFixture(path)
	if err != nil {
		return nil, err
	}
	set, err := Load(Config{Dir: filepath.Dir(path), Rules: []RuleConfig{{File: fx.Rule}}, Limits: lim}, Deps{Slots: 1})
	if err != nil {
		return nil, err
	}
	results, bad := fx.run(set.rules[0])
	if len(bad) > 0 {
		return nil, Problems(bad)
	}
	return results, nil
}

// run runs the cases on a machine of their own, of the rule's code and limits but with
// a clock that stands still and numbers that are known. What wildcat.yaml says about
// accounts and chats does not count: a test is about the file.
func (fx *Fixture) run(of *rule) ([]CaseResult, []Problem) {
	now := fx.Now
	sh := *of.script.shared
	sh.deps = Deps{Slots: 1, Now: func() time.Time { return now }, Rand: func() float64 { return 0.5 }}.withDefaults()
	sc := *of.script
	sc.shared = &sh
	rule, bad := newRule(&sc, RuleConfig{}, of.wall)
	if len(bad) > 0 {
		return nil, bad
	}
	rule.metric = unseen().rule(rule.Name())
	out := make([]CaseResult, 0, len(fx.Cases))
	for i, c := range fx.Cases {
		ev := c.Event
		fill(&ev, i)
		if fx.Now.IsZero() {
			now = ev.Time
		}
		began := time.Now()
		var v pipeline.Verdict
		var failed error
		if rule.Match(&ev) {
			v, failed = rule.Eval(context.Background(), &ev)
			rule.health.again() // cases do not disable the rule for those after them
		}
		out = append(out, CaseResult{Name: c.Name, Problem: compare(c.Want, v, failed), Took: time.Since(began)})
	}
	return out, nil
}

func readFixture(path string) (*Fixture, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read rule test: %w", err)
	}
	return parseFixture(path, b)
}

// parseFixture decodes a fixture; path names it, and the rule unless it says otherwise.
func parseFixture(path string, b []byte) (*Fixture, error) {
	fx := &Fixture{Rule: strings.TrimSuffix(filepath.Base(path), ".test.json") + ".lua"}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(fx); err != nil {
		return nil, fmt.Errorf("read rule test %s: %w", path, err)
	}
	if len(fx.Cases) == 0 {
		return nil, fmt.Errorf("read rule test %s: it has no cases", path)
	}
	return fx, nil
}

// fill completes an event as WhatsApp would have.
func fill(ev *sdk.Event, i int) {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	if ev.Type == "" {
		ev.Type = sdk.TypeMessage
	}
	if ev.Time.IsZero() {
		ev.Time = time.Date(2025, 3, 3, 12, 0, 0, 0, time.UTC)
	}
	if ev.Seq == 0 {
		ev.Seq = uint64(i) + 1 //nolint:gosec // an index
	}
	def(&ev.ID, fmt.Sprintf("%032x", i+1))
	def(&ev.Account, "main")
	if ev.Message == nil {
		def(&ev.Chat, "4915550001@s.whatsapp.net")
		return
	}
	m := *ev.Message
	def(&ev.Chat, m.Chat)
	def(&ev.Chat, "4915550001@s.whatsapp.net")
	def(&m.Chat, ev.Chat)
	def(&m.From, ev.Chat)
	def(&m.ID, fmt.Sprintf("3EB0%018X", i+1))
	if m.Kind == "" {
		m.Kind = sdk.KindText
	}
	if m.Time.IsZero() {
		m.Time = ev.Time
	}
	ev.Message = &m
}

// compare says what differs, "" for nothing.
func compare(want Want, v pipeline.Verdict, err error) string {
	if want.Error != "" {
		switch {
		case err == nil:
			return fmt.Sprintf("want an error with %q, got none", want.Error)
		case !strings.Contains(err.Error(), want.Error):
			return fmt.Sprintf("want an error with %q, got %v", want.Error, err)
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	got := Want{Drop: v.Drop, Routes: v.Routes, Tags: v.Tags}
	for _, a := range v.Actions {
		got.Actions = append(got.Actions, WantAction(a))
	}
	want.Actions = slices.Clone(want.Actions)
	for i := range want.Actions {
		if want.Actions[i].Kind == "" {
			want.Actions[i].Kind = pipeline.ActionReply
		}
	}
	// Both sides are written by the same type, so their texts can be compared.
	w, _ := json.Marshal(want) //nolint:errchkjson // strings and bools
	g, _ := json.Marshal(got)  //nolint:errchkjson // strings and bools
	if !bytes.Equal(w, g) {
		return fmt.Sprintf("want %s, got %s", w, g)
	}
	return ""
}
