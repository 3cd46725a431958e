package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/connector"
	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/plugins"
	"github.com/wildcathub/wildcat/sdk"
)

// checkTimeout bounds what a connector program may take to say what it accepts.
const checkTimeout = 15 * time.Second

// Check finds the mistakes that a valid configuration file can still name: in rules,
// and in what connectors are given. It opens no data folder and changes nothing, but
// starts connector programs for a moment, to ask them. It returns one line for people.
func Check(ctx context.Context, cfg *config.Config) (summary string, problems []string) {
	for _, p := range lua.Check(ruleConfig(cfg)) {
		problems = append(problems, lua.Problems{p}.Error())
	}
	log := slog.New(slog.DiscardHandler)
	reg := prometheus.NewRegistry()
	if _, err := newGuard(cfg, reg); err != nil {
		problems = append(problems, err.Error())
	}
	registry, bad := connector.NewRegistry(registryConfig(cfg), connector.RegistryDeps{
		Builtin: plugins.Builtin(plugins.Deps{HTTP: &http.Client{}}),
		Program: program(cfg, log, reg),
		Host:    func(string) sdk.Host { return nil },
	})
	if len(bad) > 0 {
		for _, p := range connectorProblems(cfg, bad) {
			problems = append(problems, p.String())
		}
	}
	for _, e := range registry.Entries() {
		p, ok := e.Connector.(*connector.Process)
		if !ok {
			continue
		}
		cctx, cancel := context.WithTimeout(ctx, checkTimeout)
		_, err := p.Check(cctx)
		cancel()
		if err != nil {
			problems = append(problems, cfg.Problem(connectorKey(cfg, e.Name)+".with", "%v", err).String())
		}
	}
	name := cfg.Path
	if name == "" {
		name = "defaults"
	}
	return fmt.Sprintf("ok: %s, %d rules, %d connectors", name, len(ruleConfig(cfg).Rules), len(registry.Entries())), problems
}

// connectorKey is the place of an entry in the configuration.
func connectorKey(cfg *config.Config, name string) string {
	for i, c := range cfg.Connectors {
		if c.Name == name {
			return fmt.Sprintf("connectors[%d]", i)
		}
	}
	return "connectors"
}

// connectorProblems gives mistakes in entries their place in the file.
func connectorProblems(cfg *config.Config, bad []connector.ConfigProblem) config.Problems {
	var out config.Problems
	for _, p := range bad {
		out = append(out, cfg.Problem(fmt.Sprintf("connectors[%d].%s", p.Index, p.Key), "%s", p.Message))
	}
	return out
}

// Problems returns the operator's mistakes that an error of config.Load or New
// consists of, a line or a paragraph each; none if it is another kind of error.
func Problems(err error) []string {
	var list []string
	var cp config.Problems
	if errors.As(err, &cp) {
		for _, p := range cp {
			list = append(list, p.String())
		}
	}
	var lp lua.Problems
	if errors.As(err, &lp) {
		list = append(list, lp.Error())
	}
	return list
}
