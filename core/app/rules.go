package app

import (
	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/lua"
)

// ruleConfig is the rules that are enabled, as package lua wants them.
func ruleConfig(cfg *config.Config) lua.Config {
	out := lua.Config{Dir: cfg.Resolve("."), Limits: lua.DefaultLimits()}
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

// rules shows the rules over REST.
type rules struct{ set *lua.Set }

var _ api.Rules = rules{}

// RuleStatus implements api.Rules.
func (r rules) RuleStatus() []api.RuleStatus {
	var out []api.RuleStatus
	for _, s := range r.set.Status() {
		out = append(out, api.RuleStatus{
			Name: s.Name, File: s.File, Enabled: true, State: s.State, Reason: s.Reason,
			Runs: s.Runs, Failures: s.Failures, LastError: s.LastError,
		})
	}
	return out
}
