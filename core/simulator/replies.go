package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// ErrReply says that an automatic reply's pattern is no regular expression.
var ErrReply = errors.New("bad reply")

// Reply is one automatic answer of a phone.
type Reply struct {
	// Pattern is a regular expression in Go's syntax, looked for anywhere in a text.
	Pattern string `json:"pattern"`
	// Text is the answer: $1 or ${name} stands for what a group of the pattern found, $0 for
	// all that matched, $$ for a dollar sign.
	Text string `json:"reply"`
}

// SetReplies makes the phone answer texts by itself; the first pattern that matches counts,
// and no rules stop it. The rules are kept over a restart. They take the place of what
// [Phone.OnMessage] and [Phone.AutoReply] set.
//
// The phone answers everybody but itself: two phones whose rules match each other's answers
// never stop.
func (p *Phone) SetReplies(rules []Reply) error {
	hook, err := replyHook(rules)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.acct.s.begin()
	b.putJSON("y/"+p.acct.number, rules)
	if err = p.acct.s.journal.commit(b); err != nil {
		return err
	}
	p.hook, p.replies = hook, slices.Clone(rules)
	return nil
}

// Replies are the rules that were set last.
func (p *Phone) Replies() []Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.replies)
}

func replyHook(rules []Reply) (func(Message) string, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	rules = slices.Clone(rules)
	patterns := make([]*regexp.Regexp, len(rules))
	for i, r := range rules {
		var err error
		if patterns[i], err = regexp.Compile(r.Pattern); err != nil {
			return nil, fmt.Errorf("reply %d: %w: %w", i+1, ErrReply, err)
		}
	}
	return func(m Message) string {
		for i, pattern := range patterns {
			if at := pattern.FindStringSubmatchIndex(m.Text); at != nil {
				return string(pattern.ExpandString(nil, rules[i].Text, m.Text, at))
			}
		}
		return ""
	}, nil
}

func (p *Phone) loadReplies(value []byte) error {
	if err := json.Unmarshal(value, &p.replies); err != nil {
		return err
	}
	var err error
	p.hook, err = replyHook(p.replies)
	return err
}
