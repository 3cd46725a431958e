package deploy_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
)

func itoa(n int) string { return strconv.Itoa(n) }

// checkConfig is `wildcat check` on a configuration, in the environment that its container
// gets and no other. It returns nil if it could not be read.
func checkConfig(files fs.FS, where string, text []byte, env map[string]string, p *problems) *config.Config {
	dir, err := os.MkdirTemp("", "wildcat-deploy-")
	if err != nil {
		p.add("%v", err)
		return nil
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "wildcat.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.add("%v", err)
		return nil
	}
	for name, value := range env {
		env[name] = interpolate(value)
	}
	cfg, err := config.Load(file, config.Options{Env: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}})
	var found config.Problems
	if err != nil && !errors.As(err, &found) {
		p.add("%s: %v", where, err)
		return nil
	}
	_, wrong := app.Check(context.Background(), cfg, found)
	for _, one := range wrong {
		p.add("%s: %s", where, strings.TrimPrefix(one, file+":"))
	}
	p.need(!config.Loopback(cfg.Server.Host), "%s: nobody outside of its container reaches %s", where, cfg.Server.Host)
	p.need(!cfg.Auth.Disabled, "%s: whoever reaches it needs no key", where)
	p.need(!cfg.NeedsKey(), "%s: it gives no API key, without which the hub does not start", where)
	p.need(cfg.Log.Format == "json", "%s: logs are not JSON", where)
	return cfg
}

// given is what somebody has put into a secret: as long as an API key has to be.
const given = "given-given-given-given-given-given"

// interpolate fills in what compose takes from its own environment.
func interpolate(s string) string {
	return regexp.MustCompile(`\$\{\w+(:[-?])?([^}]*)\}`).ReplaceAllStringFunc(s, func(ref string) string {
		_, fallback, ok := strings.Cut(strings.TrimSuffix(ref, "}"), ":-")
		if ok {
			return fallback
		}
		return given
	})
}

// mongoHosts are the hosts of a URI, without their ports.
func mongoHosts(uri string) []string {
	m := regexp.MustCompile(`^mongodb://(?:.*@)?([^/?]+)`).FindStringSubmatch(interpolate(uri))
	if m == nil {
		return nil
	}
	var hosts []string
	for _, h := range strings.Split(m[1], ",") {
		host, _, _ := strings.Cut(h, ":")
		hosts = append(hosts, host)
	}
	return hosts
}

// served says whether the hub answers GET at a path.
func served(files fs.FS, path string) bool {
	text, _ := fs.ReadFile(files, "core/api/openapi.yaml")
	return strings.Contains(string(text), "\n  "+path+":\n    get:")
}
