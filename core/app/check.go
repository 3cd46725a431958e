package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
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

// Check finds the mistakes that a configuration file can still name: in rules, and in
// what connectors are given. found are those that config.Load returned along with cfg;
// what they concern is not looked at again, and they are part of the answer, which has
// the order of the file. Check opens no data folder and changes nothing, but starts
// connector programs for a moment, to ask them. The summary is one line for people.
func Check(ctx context.Context, cfg *config.Config, found config.Problems) (summary string, problems []string) {
	c := newCheck(cfg, found)
	c.programs(ctx)
	name := cfg.Path
	if name == "" {
		name = "defaults"
	}
	return fmt.Sprintf("ok: %s, %d rules, %d connectors", name, len(ruleConfig(cfg).Rules), len(c.registry.Entries())), c.lines()
}

// CheckStart is Check for one who is about to start the hub: it says nothing if all
// that is wrong is what a program has to say. The hub starts in spite of that, tries the
// program again, and what is meant for it waits.
func CheckStart(ctx context.Context, cfg *config.Config, found config.Problems) []string {
	c := newCheck(cfg, found)
	if len(c.problems)+len(c.rules) == 0 {
		return nil
	}
	c.programs(ctx)
	return c.lines()
}

// check is a Check under way.
type check struct {
	cfg      *config.Config
	found    config.Problems
	problems config.Problems
	rules    []lua.Problem
	registry *connector.Registry
}

// newCheck makes all checks that start nothing.
func newCheck(cfg *config.Config, found config.Problems) *check {
	c := &check{cfg: cfg, found: found, problems: slices.Clone(found)}
	c.rules = lua.Check(c.ruleFiles())
	if _, err := newGuard(cfg, prometheus.NewRegistry()); err != nil {
		c.add(cfg.Problem("egress.allow_cidrs", "%v", err))
	}
	var bad []connector.ConfigProblem
	c.registry, bad = connector.NewRegistry(registryConfig(cfg), connector.RegistryDeps{
		Builtin: plugins.Builtin(plugins.Deps{HTTP: &http.Client{}}),
		Program: asked(cfg),
		Host:    func(string) sdk.Host { return nil },
	})
	for _, p := range connectorProblems(cfg, bad) {
		c.add(p)
	}
	return c
}

// asked makes the connector of an entry that names a program, to be asked only: its
// sockets are in the system's temporary folder, for there may be no data folder yet.
func asked(cfg *config.Config) func(config.ConnectorConfig, string) sdk.Connector {
	return func(c config.ConnectorConfig, path string) sdk.Connector {
		dir, err := filepath.Abs(cfg.Resolve("."))
		if err != nil {
			dir = cfg.Resolve(".")
		}
		return connector.NewProcess(connector.ProcessConfig{Name: c.Name, Path: path, SHA256: c.SHA256, Dir: dir}, connector.Deps{})
	}
}

// add notes a mistake, unless what it concerns could not be read in the first place.
func (c *check) add(p config.Problem) {
	if !c.found.About(p.Key) {
		c.problems = append(c.problems, p)
	}
}

// ruleFiles are the rules' files that are worth reading, each once and by the path at
// which it is found from here. Names and limits are the configuration's own to check.
func (c *check) ruleFiles() lua.Config {
	out := lua.Config{Limits: lua.DefaultLimits()}
	if !c.found.About("rules.instructions") {
		out.Limits = ruleConfig(c.cfg).Limits
	}
	seen := map[string]bool{}
	for i, r := range c.cfg.Rules.Files {
		file := c.cfg.Resolve(r.File)
		if seen[file] || r.Enabled != nil && !*r.Enabled || c.found.About(fmt.Sprintf("rules.files[%d].file", i)) {
			continue
		}
		seen[file] = true
		out.Rules = append(out.Rules, lua.RuleConfig{File: file, Name: fmt.Sprintf("rule-%d", i)})
	}
	return out
}

// programs asks the programs whether they accept their configuration. One whose entry
// could not be read where it matters is left alone: its pin may be what is missing.
func (c *check) programs(ctx context.Context) {
	for _, e := range c.registry.Entries() {
		p, ok := e.Connector.(*connector.Process)
		at := fmt.Sprintf("connectors[%d]", e.Index)
		if !ok || c.found.About(at+".use") || c.found.About(at+".sha256") || c.found.About(at+".enabled") || c.found.About(at+".with") {
			continue
		}
		cctx, cancel := context.WithTimeout(ctx, checkTimeout)
		_, err := p.Check(cctx)
		cancel()
		bad := connector.Mistakes(err)
		for i := range bad {
			bad[i].Index = e.Index
			if !errors.As(err, new(*sdk.ConfigError)) {
				bad[i].Key = "use" // it did not come so far as to be asked
			}
		}
		for _, p := range connectorProblems(c.cfg, bad) {
			c.add(p)
		}
	}
}

// lines are the mistakes in the order of the configuration file, and those of the
// rules' files after them.
func (c *check) lines() []string {
	var lines []string
	for _, p := range c.problems.Sorted() {
		if line := p.String(); !slices.Contains(lines, line) { // an alias comes by twice
			lines = append(lines, line)
		}
	}
	for _, p := range c.rules {
		lines = append(lines, ruleLine(p))
	}
	return lines
}

// ruleLine is file:line:column: message as editors read it, and an excerpt of the file.
func ruleLine(p lua.Problem) string {
	if p.Line == 0 {
		return p.String()
	}
	line := fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, max(p.Column, 1), p.Message)
	if p.Excerpt != "" {
		line += "\n" + strings.TrimSuffix(p.Excerpt, "\n")
	}
	return line
}

// connectorProblems gives mistakes in entries their place in the file.
func connectorProblems(cfg *config.Config, bad []connector.ConfigProblem) config.Problems {
	var out config.Problems
	for _, p := range bad {
		key, place := fmt.Sprintf("connectors[%d].%s", p.Index, p.Key), cfg.Problem
		if p.Unknown {
			place = cfg.ProblemAtKey
		}
		out = append(out, place(key, "%s", p.Message))
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
		for _, p := range lp {
			list = append(list, ruleLine(p))
		}
	}
	return list
}
