package config

import "time"

// DefaultPath is the file that is read when none is named.
const DefaultPath = "wildcat.yaml"

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		Data:     "data",
		Server:   ServerConfig{Host: "127.0.0.1", Port: 3000, MaxBody: 50 << 20},
		Log:      LogConfig{Level: "info", Format: "text"},
		Database: DatabaseConfig{URI: "sqlite:wildcat.db", Name: "wildcat"},
		WhatsApp: WhatsAppConfig{
			Network:    NetworkLive,
			DeviceName: "Wildcat",
			Reconnect:  ReconnectConfig{Min: time.Second, Max: 2 * time.Minute},
		},
		Accounts: AccountsConfig{AutoConnect: true},
		Replies:  RepliesResend,
		Rules:    RulesConfig{MaxAge: time.Hour, RepliesPerMinute: 60, Instructions: 100_000},
		Webhooks: WebhooksConfig{Timeout: 20 * time.Second, Format: "legacy"},
		Deliver:  DeliverConfig{Retry: defaultRetry()},
		Media:    MediaConfig{FFmpegPath: "ffmpeg"},
		Cluster:  ClusterConfig{Lease: 12 * time.Second},
	}
}

// defaultRetry spans 91 h 48 min: an endpoint that dies on Friday evening and is
// mended on Tuesday morning has lost nothing.
func defaultRetry() []time.Duration {
	const s, m, h = time.Second, time.Minute, time.Hour
	return []time.Duration{
		1 * s, 5 * s, 15 * s, 30 * s, 1 * m, 2 * m, 5 * m, 10 * m, 30 * m,
		1 * h, 2 * h, 4 * h, 8 * h, 12 * h, 16 * h, 24 * h, 24 * h,
	}
}

// defaultRuleTimeout is the wall clock of one rule for one event.
const defaultRuleTimeout = 50 * time.Millisecond
