package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// EventTypes are the event types that a connector or webhook may ask for.
func EventTypes() []string {
	return []string{
		string(sdk.TypeMessage), string(sdk.TypeReceipt), string(sdk.TypeReaction), string(sdk.TypeEdit),
		string(sdk.TypeRevoke), string(sdk.TypeAccount), string(sdk.TypeUndecryptable), string(sdk.TypeUnparsed),
	}
}

// AccountID is what an account id looks like.
func AccountID(id string) bool { return accountID.MatchString(id) }

// DatabaseName tells whether a name can be that of the hub's database on a MongoDB server.
func DatabaseName(name string) bool { return databaseName.MatchString(name) }

var (
	accountID     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	ruleName      = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	connectorName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)
	phoneNumber   = regexp.MustCompile(`^\+?[0-9][0-9 ()-]{4,24}$|^[0-9]{5,20}@s\.whatsapp\.net$`)
	hostName      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	adminKey      = regexp.MustCompile(`^[\x21-\x7e]{32,512}$`)
	databaseName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
)

// validator checks values, and how they fit together.
type validator struct {
	cfg      *Config
	problems Problems
	// unread are the values that could not be read: what stands there instead is a
	// default, and a second message about it would mislead.
	unread Problems
}

func newValidator(cfg *Config, unread Problems) *validator {
	v := &validator{cfg: cfg, problems: slices.Clone(unread)}
	for _, p := range unread {
		if p.File != environmentFile { // there the file's own value stays
			v.unread = append(v.unread, p)
		}
	}
	return v
}

func (v *validator) at(path, format string, args ...any) {
	if _, overridden := v.cfg.origins[path]; overridden || !v.unread.covers(path) {
		v.problems = append(v.problems, v.cfg.Problem(path, format, args...))
	}
}

func (v *validator) all() {
	c := v.cfg
	if c.Data == "" {
		v.at("data", "the data folder must have a name")
	}
	v.server()
	oneOf(v, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(v, "log.format", c.Log.Format, "text", "json")
	v.database()
	v.whatsapp()
	if c.Accounts.AdminNumber != "" && !phoneNumber.MatchString(c.Accounts.AdminNumber) {
		v.at("accounts.admin_number", "expected a phone number such as +91 95474 00579")
	}
	oneOf(v, "replies", c.Replies, RepliesResend, RepliesAtMostOnce)
	v.rules()
	duration(v, "webhooks.timeout", c.Webhooks.Timeout, time.Second, time.Minute)
	oneOf(v, "webhooks.format", c.Webhooks.Format, "legacy", "envelope")
	v.connectors()
	v.retry("deliver.retry", c.Deliver.Retry)
	number(v, "deliver.in_flight", int64(c.Deliver.InFlight), 0, 65_536)
	if c.Media.FFmpegPath == "" {
		v.at("media.ffmpeg_path", "expected the path of a program")
	}
	if u, err := url.Parse(c.Cluster.Advertise); c.Cluster.Advertise != "" && (err != nil || u.Host == "" || !validPort(u) || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "") {
		v.at("cluster.advertise", "expected a URL such as http://10.0.0.7:3000, not %q", c.Cluster.Advertise)
	}
	duration(v, "cluster.lease", c.Cluster.Lease, 3*time.Second, 5*time.Minute)
	for i, cidr := range c.Egress.AllowCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			v.at(fmt.Sprintf("egress.allow_cidrs[%d]", i), "expected a network such as 10.0.0.0/8, not %q", cidr)
		}
	}
}

func (v *validator) server() {
	c := v.cfg
	number(v, "server.port", int64(c.Server.Port), 0, 65_535)
	number(v, "server.max_body", c.Server.MaxBody, 1<<10, 1<<30)
	host := c.Server.Host
	for i, name := range c.Server.AllowHosts {
		if !hostName.MatchString(name) {
			v.at(fmt.Sprintf("server.allow_hosts[%d]", i), "expected a name without a port, such as wildcat.example.com, not %q", name)
		}
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
		v.at("server.host", "expected an address or a name without a port, not %q", host)
	}
	if key := c.Auth.AdminKey.Reveal(); key != "" && !adminKey.MatchString(key) { // never repeated
		v.at("auth.admin_key", "expected 32 to 512 characters without spaces, such as `openssl rand -hex 32` prints")
	}
}

// NeedsKey says that the hub starts only if an API key is stored: its address can be reached
// from other machines, no key is configured, and nobody has said that none is needed.
func (c *Config) NeedsKey() bool {
	return !Loopback(c.Server.Host) && !c.Auth.Disabled && c.Auth.AdminKey == ""
}

// Loopback says whether a host is reached from this machine only.
func Loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

func (v *validator) database() {
	// The URI may hold a password: messages never repeat it.
	uri := v.cfg.Database.URI.Reveal()
	scheme, rest, _ := strings.Cut(uri, ":")
	switch scheme {
	case "sqlite":
		if rest == "" {
			v.at("database.uri", "expected a file after sqlite:, such as sqlite:wildcat.db")
		}
	case "mongodb", "mongodb+srv":
		// The rest is for the driver to judge, which knows the options.
		hosts, ok := strings.CutPrefix(rest, "//")
		hosts, _, _ = strings.Cut(hosts, "?")
		hosts, _, _ = strings.Cut(hosts, "/")
		if hosts = hosts[strings.LastIndexByte(hosts, '@')+1:]; !ok || hosts == "" {
			v.at("database.uri", "expected a host after %s://, such as mongodb://localhost:27017", scheme)
		}
	default:
		v.at("database.uri", "expected sqlite:<file>, such as sqlite:wildcat.db, or mongodb://<host>")
	}
	if !DatabaseName(v.cfg.Database.Name) {
		v.at("database.name", "expected letters, digits, _ and -, at most 63")
	}
}

func (v *validator) whatsapp() {
	w := v.cfg.WhatsApp
	oneOf(v, "whatsapp.network", w.Network, NetworkLive, NetworkSandbox)
	if w.URL != "" {
		u, err := url.Parse(w.URL)
		switch {
		case err != nil || u.Scheme != "http" || u.Host == "" || u.User != nil || !validPort(u):
			v.at("whatsapp.url", "expected the address of a sandbox, such as http://127.0.0.1:8090")
		case !Loopback(u.Hostname()):
			v.at("whatsapp.url", "a sandbox must run on this machine (127.0.0.1, ::1 or localhost): %s may be another one", u.Hostname())
		}
		if w.Network == NetworkLive && !v.unread.covers("whatsapp.network") {
			v.at("whatsapp.url", "an address is for the sandbox only: remove it, or set whatsapp.network to sandbox")
		}
	}
	if n := len(w.DeviceName); n < 1 || n > 64 {
		v.at("whatsapp.device_name", "expected 1 to 64 bytes")
	}
	duration(v, "whatsapp.reconnect.min", w.Reconnect.Min, 100*time.Millisecond, time.Hour)
	duration(v, "whatsapp.reconnect.max", w.Reconnect.Max, 100*time.Millisecond, 24*time.Hour)
	if w.Reconnect.Max < w.Reconnect.Min && !v.unread.covers("whatsapp.reconnect.min") {
		v.at("whatsapp.reconnect.max", "must not be less than whatsapp.reconnect.min (%s)", w.Reconnect.Min)
	}
}

func (v *validator) rules() {
	r := v.cfg.Rules
	duration(v, "rules.max_age", r.MaxAge, time.Second, 30*24*time.Hour)
	number(v, "rules.replies_per_minute", int64(r.RepliesPerMinute), 1, 6000)
	number(v, "rules.instructions", int64(r.Instructions), 1000, 1_000_000)
	names := map[string]int{}
	for i, f := range r.Files {
		at := fmt.Sprintf("rules.files[%d]", i)
		if f.File == "" {
			v.at(at+".file", "a rule needs a file")
		} else if problem := missing(v.cfg.Resolve(f.File)); problem != "" && *f.Enabled {
			v.at(at+".file", "rule file %s %s", f.File, problem)
		}
		switch first, again := names[f.Name]; {
		case f.Name == "" || v.unread.covers(at+".name"): // its file has the name, and is missing
		case !ruleName.MatchString(f.Name):
			v.at(at+".name", "expected letters, digits, dot, _ and -, at most 64, not %q", f.Name)
		case again:
			v.at(at+".name", "rule name %q is taken by rules.files[%d]: give one of them another name", f.Name, first)
		default:
			names[f.Name] = i
		}
		v.accounts(at+".accounts", f.Accounts)
		for j, chat := range f.Chats {
			if chat == "" {
				v.at(fmt.Sprintf("%s.chats[%d]", at, j), "expected a chat, such as 919547400579@s.whatsapp.net")
			}
		}
		duration(v, at+".timeout", f.Timeout, time.Millisecond, 250*time.Millisecond)
	}
}

func (v *validator) connectors() {
	names := map[string]int{}
	for i, k := range v.cfg.Connectors {
		at := fmt.Sprintf("connectors[%d]", i)
		switch first, again := names[k.Name]; {
		case k.Name == "":
			v.at(at+".name", "a connector needs a name")
		case !connectorName.MatchString(k.Name):
			v.at(at+".name", "expected small letters, digits, _ and -, at most 64, not %q", k.Name)
		case again:
			v.at(at+".name", "connector name %q is taken by connectors[%d]", k.Name, first)
		default:
			names[k.Name] = i
		}
		if k.Use == "" {
			// Whether the program is there is for the one who starts it.
			v.at(at+".use", "a connector needs use: the name of a built-in, or the path of a program")
		}
		for j, e := range k.Events {
			if known := EventTypes(); !slices.Contains(known, e) {
				v.at(fmt.Sprintf("%s.events[%d]", at, j), "unknown event type %q%s", e, suggest(e, known))
			}
		}
		v.accounts(at+".accounts", k.Accounts)
		if v.cfg.Given(at + ".retry") { // else it is deliver.retry, and no mistake of this entry
			v.retry(at+".retry", k.Retry)
		}
		oneOf(v, at+".ordering", k.Ordering, OrderingBounded, OrderingStrict, OrderingNone)
		if k.SHA256 != "" {
			if raw, err := hex.DecodeString(k.SHA256); k.Use != "" && !k.Program() {
				v.at(at+".sha256", "only a program can be pinned, and %q is a built-in", k.Use)
			} else if err != nil || len(raw) != 32 {
				v.at(at+".sha256", "expected 64 hex digits, as sha256sum prints them")
			}
		}
	}
}

func (v *validator) accounts(path string, ids []string) {
	for i, id := range ids {
		if !AccountID(id) {
			v.at(fmt.Sprintf("%s[%d]", path, i), "expected an account id (letters, digits, _ and -, at most 64), not %q", id)
		}
	}
}

func (v *validator) retry(path string, delays []time.Duration) {
	if len(delays) > 100 {
		v.at(path, "at most 100 delays, not %d", len(delays))
	}
	for i, d := range delays {
		duration(v, fmt.Sprintf("%s[%d]", path, i), d, 10*time.Millisecond, 7*24*time.Hour)
	}
}

// validPort says whether a URL's port can be dialled; url.Parse takes any number.
func validPort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

// missing says in words why a file cannot be used, or "".
func missing(path string) string {
	switch info, err := os.Stat(path); {
	case os.IsNotExist(err):
		return "does not exist"
	case err != nil:
		return "cannot be opened"
	case !info.Mode().IsRegular():
		return "is no regular file"
	}
	return ""
}

func oneOf[T ~string](v *validator, path string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	list := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	v.at(path, "expected %s, not %q%s", list, string(value), suggest(string(value), words))
}

func number(v *validator, path string, value, low, high int64) {
	if value < low || value > high {
		v.at(path, "expected a number from %d to %d, not %d", low, high, value)
	}
}

func duration(v *validator, path string, value, low, high time.Duration) {
	if value < low || value > high {
		v.at(path, "expected a duration from %s to %s, not %s", short(low), short(high), short(value))
	}
}

// short prints a duration without the zeros of Duration.String: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Address is host and port as net.Listen wants them.
func (s ServerConfig) Address() string { return net.JoinHostPort(s.Host, fmt.Sprint(s.Port)) }
