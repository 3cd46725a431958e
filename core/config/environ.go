package config

import (
	"fmt"
	"strconv"
	"strings"
)

// envNames are the variables that override the file; all but WILDCAT_ADMIN_KEY in the names
// that users of the first Wildcat have in their .env. set returns what was expected instead.
func envNames() []envName {
	text := func(field func(*Config) *string) func(*Config, string) string {
		return func(c *Config, v string) string { *field(c) = v; return "" }
	}
	return []envName{
		{"HOST", "server.host", text(func(c *Config) *string { return &c.Server.Host })},
		{"PORT", "server.port", func(c *Config, v string) string {
			n, err := strconv.Atoi(v)
			if err != nil {
				return "a whole number"
			}
			c.Server.Port = n
			return ""
		}},
		{"MONGO_URL", "database.uri", func(c *Config, v string) string { c.Database.URI = Secret(v); return "" }},
		{"DB_NAME", "database.name", text(func(c *Config) *string { return &c.Database.Name })},
		{"WILDCAT_ADMIN_KEY", "auth.admin_key", func(c *Config, v string) string { c.Auth.AdminKey = Secret(v); return "" }},
		{"ADMIN_NUMBER", "accounts.admin_number", text(func(c *Config) *string { return &c.Accounts.AdminNumber })},
		{"AUTO_CONNECT_ON_START", "accounts.auto_connect", func(c *Config, v string) string {
			b, err := strconv.ParseBool(strings.ToLower(v))
			if err != nil {
				return "true or false"
			}
			c.Accounts.AutoConnect = b
			return ""
		}},
		{"LOG_LEVEL", "log.level", func(c *Config, v string) string { c.Log.Level = strings.ToLower(v); return "" }},
		{"FFMPEG_PATH", "media.ffmpeg_path", text(func(c *Config) *string { return &c.Media.FFmpegPath })},
	}
}

type envName struct {
	name string
	path string
	set  func(*Config, string) string
}

// environment applies the variables that are set and not empty: an .env file often
// lists a name without a value.
func (d *decoder) environment(cfg *Config) {
	for _, e := range envNames() {
		value, ok := d.env(e.name)
		value = strings.TrimSpace(value)
		if !ok || value == "" {
			continue
		}
		if want := e.set(cfg, value); want != "" {
			d.problems = append(d.problems, Problem{File: environmentFile, Key: e.path, Message: fmt.Sprintf("%s: expected %s, not %q", e.name, want, value)})
			continue
		}
		cfg.origins[e.path] = e.name
	}
}
