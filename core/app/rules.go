package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/rules"
	"github.com/wildcathub/wildcat/core/store"
)

// ruleConfig is the rules that are enabled, as package lua wants them.
func ruleConfig(cfg *config.Config) lua.Config {
	out := lua.Config{
		Dir: cfg.Resolve("."), Limits: lua.DefaultLimits(),
		Replies: pipeline.ReplyLimits{MaxAge: cfg.Rules.MaxAge, PerMinute: cfg.Rules.RepliesPerMinute},
	}
	if cfg.Rules.Instructions > 0 {
		out.Limits.Instructions = cfg.Rules.Instructions
	}
	for _, r := range cfg.Rules.Files {
		if r.Enabled != nil && !*r.Enabled {
			continue
		}
		out.Rules = append(out.Rules, lua.RuleConfig{File: r.File, Name: r.Name, Accounts: r.Accounts, Chats: r.Chats, Timeout: r.Timeout})
	}
	return out
}

// ruleSource reads which rules there are to be: from the configuration that the hub was
// started with, and then from what it is at each reload. Nothing else of that is used.
func ruleSource(cfg *config.Config, reread func() (*config.Config, error)) func() (rules.Source, error) {
	first := true
	source := func(c *config.Config) rules.Source {
		return rules.Source{Config: ruleConfig(c), Silent: len(c.Rules.Files) == 0 && !c.Given("rules.files")}
	}
	return func() (rules.Source, error) {
		if first || reread == nil {
			first = false
			return source(cfg), nil
		}
		now, err := reread()
		if err != nil {
			if !errors.As(err, &config.Problems{}) { // the file is gone, or cannot be read
				err = config.Problems{{File: cfg.Path, Message: err.Error()}}
			}
			return rules.Source{}, err
		}
		src := source(now)
		src.Restart = slices.DeleteFunc(cfg.Changed(now), func(section string) bool { return section == "rules" })
		return src, nil
	}
}

// ReloadRules reads the rules again and puts them into force, on all hubs. What is wrong
// with them is logged and shown over REST; the old ones stay.
func (a *App) ReloadRules(ctx context.Context) error {
	_, err := a.rules.Reload(ctx)
	return err
}

// ruleBook shows and changes the rules over REST.
type ruleBook struct{ rules *rules.Manager }

var _ api.Rules = ruleBook{}

// RuleStatus implements api.Rules.
func (b ruleBook) RuleStatus() api.RulesStatus {
	st := b.rules.Status()
	out := api.RulesStatus{RuleVersion: ruleVersion(st.Version), Behind: ruleFailure(st.Behind), Failure: ruleFailure(st.Failure)}
	for _, s := range st.Rules {
		out.Rules = append(out.Rules, api.RuleStatus{
			Name: s.Name, File: s.File, Enabled: true, State: s.State, Reason: s.Reason,
			Runs: s.Runs, Failures: s.Failures, FailuresInARow: s.FailuresInARow, FailingChats: s.FailingChats, LastError: s.LastError,
		})
	}
	return out
}

// RuleVersions implements api.Rules.
func (b ruleBook) RuleVersions(ctx context.Context) ([]api.RuleVersion, error) {
	list, err := b.rules.Versions(ctx)
	out := make([]api.RuleVersion, len(list))
	for i, v := range list {
		out[i] = ruleVersion(v)
	}
	return out, err
}

// ReloadRules implements api.Rules.
func (b ruleBook) ReloadRules(ctx context.Context) (api.RulesChange, error) {
	return ruleChange(b.rules.Reload(ctx))
}

// RollbackRules implements api.Rules.
func (b ruleBook) RollbackRules(ctx context.Context, version string) (api.RulesChange, error) {
	return ruleChange(b.rules.Rollback(ctx, version))
}

func ruleVersion(v rules.Version) api.RuleVersion {
	return api.RuleVersion{Version: v.Version, Number: v.Number, Since: v.At, Hub: v.Hub, Cause: v.Cause, Count: v.Rules}
}

func ruleChange(c rules.Change, err error) (api.RulesChange, error) {
	problems := Problems(err)
	switch {
	case err == nil:
		return api.RulesChange{RuleVersion: ruleVersion(c.Version), Before: c.Before.Version, Restart: c.Restart}, nil
	case len(problems) > 0:
		return api.RulesChange{}, api.RuleMistakes(problems)
	case rules.Unusable(err), errors.Is(err, rules.ErrSilent):
		return api.RulesChange{}, api.RuleMistakes{err.Error()}
	case errors.Is(err, rules.ErrAmbiguous):
		return api.RulesChange{}, fmt.Errorf("%w: %w", api.ErrRuleVersionAmbiguous, err)
	case errors.Is(err, rules.ErrNoVersion):
		return api.RulesChange{}, fmt.Errorf("%w: %w", api.ErrRuleVersion, err)
	}
	return api.RulesChange{}, err
}

// ruleFailure says what may be shown of an error: what is wrong with rules and versions, but
// nothing of the database's.
func ruleFailure(f *rules.Failure) *api.RulesFailure {
	if f == nil {
		return nil
	}
	out := &api.RulesFailure{At: f.At, Version: f.Version, Error: "internal error: the log says more"}
	switch {
	case rules.Unusable(f.Err), len(Problems(f.Err)) > 0, errors.Is(f.Err, rules.ErrNoVersion), errors.Is(f.Err, rules.ErrSilent), errors.Is(f.Err, rules.ErrAmbiguous):
		out.Error = f.Err.Error()
	case errors.Is(f.Err, store.ErrAway):
		out.Error = "the database does not answer"
	case errors.Is(f.Err, store.ErrFull):
		out.Error = "the database is full"
	}
	return out
}
