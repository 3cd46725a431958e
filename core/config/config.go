// Package config turns wildcat.yaml, the environment and the command line into a
// Config. It owns the names of the keys, their defaults and their validation; apart
// from the file itself it opens nothing (it looks whether rule files are
// there), and it starts nothing.
package config

import "time"

// Config is the whole configuration. The yaml tag is the key, the default is what
// Default returns; wildcat.yaml at the top of the repository shows every key.
type Config struct {
	// Path is the file that was read ("" if none); rule and plugin paths are relative to its folder.
	Path string `yaml:"-"`
	// Data is the data folder; SQLite paths are relative to it.
	Data       string            `yaml:"data"`
	Server     ServerConfig      `yaml:"server"`
	Auth       AuthConfig        `yaml:"auth"`
	Log        LogConfig         `yaml:"log"`
	Database   DatabaseConfig    `yaml:"database"`
	WhatsApp   WhatsAppConfig    `yaml:"whatsapp"`
	Accounts   AccountsConfig    `yaml:"accounts"`
	Replies    RepliesMode       `yaml:"replies"`
	Rules      RulesConfig       `yaml:"rules"`
	Webhooks   WebhooksConfig    `yaml:"webhooks"`
	Connectors []ConnectorConfig `yaml:"connectors"`
	Deliver    DeliverConfig     `yaml:"deliver"`
	Media      MediaConfig       `yaml:"media"`
	Egress     EgressConfig      `yaml:"egress"`
	Cluster    ClusterConfig     `yaml:"cluster"`

	// places is where each key's value stands in the file, keys where the key itself
	// does, by path; origins names the environment variable that overrode it.
	places, keys map[string]place
	origins      map[string]string
}

// ServerConfig is the REST listener.
type ServerConfig struct {
	// Host is the address to listen on; HOST overrides. Default 127.0.0.1.
	Host string `yaml:"host"`
	// Port is the port, 0 for any free one; PORT overrides. Default 3000.
	Port int `yaml:"port"`
	// MaxBody is the largest request body, in bytes. Default 52428800.
	MaxBody int64 `yaml:"max_body"`
	// AllowHosts are further names by which requests may address a loopback listener:
	// those that a reverse proxy passes on. Default none.
	AllowHosts []string `yaml:"allow_hosts"`
}

// AuthConfig guards the REST API.
type AuthConfig struct {
	// Disabled says aloud that anyone who reaches the address may use the API, whatever keys there are.
	Disabled bool `yaml:"disabled"`
	// AdminKey is an API key with the scope admin that is stored nowhere, at least 32
	// characters; WILDCAT_ADMIN_KEY overrides. Default none.
	AdminKey Secret `yaml:"admin_key"`
}

// LogConfig is the program's log, on standard error.
type LogConfig struct {
	// Level is debug, info, warn or error; LOG_LEVEL overrides. Default info.
	Level string `yaml:"level"`
	// Format is text or json. Default text.
	Format string `yaml:"format"`
}

// DatabaseConfig is the store.
type DatabaseConfig struct {
	// URI is "sqlite:<file>" (relative to the data folder) or "mongodb://…"; MONGO_URL
	// overrides. Default "sqlite:wildcat.db".
	URI Secret `yaml:"uri"`
	// Name is the MongoDB database; DB_NAME overrides. Default wildcat.
	Name string `yaml:"name"`
}

// Network is which WhatsApp the accounts live on.
type Network string

// The networks.
const (
	NetworkLive    Network = "live"
	NetworkSandbox Network = "sandbox"
)

// WhatsAppConfig is the connection to WhatsApp.
type WhatsAppConfig struct {
	// Network is live or sandbox. Default live.
	Network Network `yaml:"network"`
	// URL is the sandbox's, loopback only; "" runs a sandbox inside the hub.
	URL string `yaml:"url"`
	// DeviceName is shown on the phone under linked devices. Default Wildcat.
	DeviceName string `yaml:"device_name"`
	// Reconnect bounds the back-off between connections.
	Reconnect ReconnectConfig `yaml:"reconnect"`
}

// ReconnectConfig is an exponential back-off with jitter.
type ReconnectConfig struct {
	Min time.Duration `yaml:"min"` // default 1s
	Max time.Duration `yaml:"max"` // default 2m
}

// AccountsConfig is about all accounts.
type AccountsConfig struct {
	// AutoConnect connects at start what was connected; AUTO_CONNECT_ON_START overrides. Default true.
	AutoConnect bool `yaml:"auto_connect"`
	// AdminNumber is told when an account first connects; ADMIN_NUMBER overrides. Default none.
	AdminNumber string `yaml:"admin_number"`
}

// RepliesMode says what happens to a send that a crash left uncertain.
type RepliesMode string

// The modes.
const (
	// RepliesResend repeats it with the same id (default).
	RepliesResend RepliesMode = "resend"
	// RepliesAtMostOnce marks it unknown and never repeats it.
	RepliesAtMostOnce RepliesMode = "at_most_once"
)

// RulesConfig is the Lua rules.
type RulesConfig struct {
	// MaxAge bounds how old a message may be to be answered. Default 1h.
	MaxAge time.Duration `yaml:"max_age"`
	// RepliesPerMinute bounds automatic replies in one chat. Default 60.
	RepliesPerMinute int `yaml:"replies_per_minute"`
	// Instructions, per event and rule. Default 100000, at most 1000000.
	Instructions int `yaml:"instructions"`
	// Files are the rules, in the order in which they run.
	Files []RuleConfig `yaml:"files"`
}

// RuleConfig is one rule file.
type RuleConfig struct {
	// File is the Lua file, relative to the configuration file.
	File string `yaml:"file"`
	// Name identifies the rule; default is the file's name without .lua. It is part
	// of the ids of replies: do not rename a rule while messages wait.
	Name string `yaml:"name"`
	// Accounts and Chats limit the rule; empty means all.
	Accounts []string `yaml:"accounts"`
	Chats    []string `yaml:"chats"`
	// Timeout is the wall clock for one event. Default 50ms, at most 250ms.
	Timeout time.Duration `yaml:"timeout"`
	// Enabled: default true.
	Enabled *bool `yaml:"enabled"`
}

// WebhooksConfig is about all registered webhooks.
type WebhooksConfig struct {
	// Timeout bounds one request, body included. Default 20s, 1s to 60s.
	Timeout time.Duration `yaml:"timeout"`
	// Format is legacy (the flat message) or envelope. Default legacy.
	Format string `yaml:"format"`
}

// ConnectorConfig is one entry under connectors.
type ConnectorConfig struct {
	// Name identifies the connector; rules route to it by this name.
	Name string `yaml:"name"`
	// Use is a built-in ("webhook") or the path of a program, relative to the configuration file.
	Use string `yaml:"use"`
	// With is the connector's own configuration.
	With map[string]any `yaml:"with"`
	// Events are the event types wanted; default [message].
	Events []string `yaml:"events"`
	// Accounts limit it; empty means all.
	Accounts []string `yaml:"accounts"`
	// Retry replaces deliver.retry for this connector.
	Retry []time.Duration `yaml:"retry"`
	// Ordering is bounded, strict or none. Default bounded.
	Ordering Ordering `yaml:"ordering"`
	// SHA256, if set, pins the program.
	SHA256 string `yaml:"sha256"`
	// Enabled: default true.
	Enabled *bool `yaml:"enabled"`
}

// Ordering says how a failing delivery holds up its chat.
type Ordering string

// The orderings.
const (
	// OrderingBounded: a failing head blocks its lane for 6 attempts, then steps aside.
	OrderingBounded Ordering = "bounded"
	// OrderingStrict: until it is delivered or dead.
	OrderingStrict Ordering = "strict"
	// OrderingNone: not at all.
	OrderingNone Ordering = "none"
)

// DeliverConfig is the outbox.
type DeliverConfig struct {
	// Retry is the delays between attempts; one more attempt than delays is made.
	// Default 1s 5s 15s 30s 1m 2m 5m 10m 30m 1h 2h 4h 8h 12h 16h 24h 24h.
	Retry []time.Duration `yaml:"retry"`
	// InFlight bounds all deliveries under way; 0 means 32 per CPU.
	InFlight int `yaml:"in_flight"`
}

// MediaConfig is about files in messages.
type MediaConfig struct {
	// FFmpegPath is the ffmpeg program, looked up in PATH unless it has a slash;
	// FFMPEG_PATH overrides. Default ffmpeg. It need not exist.
	FFmpegPath string `yaml:"ffmpeg_path"`
}

// ClusterConfig is for several hubs on one MongoDB database.
type ClusterConfig struct {
	// Advertise is the URL at which other hubs reach this one's REST API. Default: the
	// address that it listens on, or, where that is every address, the machine's first one.
	Advertise string `yaml:"advertise"`
	// Lease is how long a hub that died keeps its accounts from the others: 3 s to 5 min, the
	// same on all hubs. Default 12 s. A hub that lives renews its leases three times as often.
	Lease time.Duration `yaml:"lease"`
}

// EgressConfig guards requests to addresses that users give.
type EgressConfig struct {
	// AllowCIDRs are private networks that may be reached, such as 10.0.0.0/8.
	AllowCIDRs []string `yaml:"allow_cidrs"`
}

// Secret is a string that prints as ***.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// MarshalText hides the value from JSON and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }
