package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

const (
	defaultTimeout = 20 * time.Second
	minTimeout     = time.Second
	maxTimeout     = 60 * time.Second
)

// Format is how message events look.
type Format string

// The formats.
const (
	// FormatLegacy is the flat message that Wildcat has always sent, with new fields at
	// its end (default). Other events come as envelopes.
	FormatLegacy Format = "legacy"
	// FormatEnvelope is the same envelope for every event.
	FormatEnvelope Format = "envelope"
)

// Config is the entry's `with:` object.
type Config struct {
	// URL is where requests go, http or https.
	URL string `json:"url"`
	// Secret is "whsec_" and base64; several, separated by spaces, all sign while
	// they rotate; "" leaves requests unsigned.
	Secret string `json:"secret"`
	// Headers are added to each request.
	Headers map[string]string `json:"headers"`
	// Timeout bounds one request, answer included, such as "20s": 1s to 60s, default 20s.
	Timeout string `json:"timeout"`
	// Format is legacy (default) or envelope.
	Format Format `json:"format"`
}

// settings is a Config as it is used.
type settings struct {
	url     *url.URL
	keys    [][]byte
	headers http.Header
	timeout time.Duration
	format  Format
}

// reader reads a `with:` object key by key, since encoding/json stops at the first
// mistake and the user wants to see them all.
type reader struct {
	errs []error
	// settled are the keys about which all has been said.
	settled map[string]bool
}

func (r *reader) mistake(path, format string, args ...any) {
	r.errs = append(r.errs, &sdk.ConfigError{Path: path, Message: fmt.Sprintf(format, args...)})
}

// parse reads and validates. Mistakes are *sdk.ConfigError, joined.
func parse(with json.RawMessage) (settings, error) {
	r := &reader{settled: map[string]bool{}}
	c, ok := r.object(with)
	if !ok {
		return settings{}, errors.Join(r.errs...)
	}
	s := settings{timeout: defaultTimeout, format: FormatLegacy}
	if !r.settled["url"] {
		var err error
		s.url, err = parseURL(c.URL)
		r.add(err)
	}
	var err error
	s.keys, err = parseSecrets(c.Secret)
	r.add(err)
	s.headers = r.header(c.Headers)
	if c.Timeout != "" {
		s.timeout, err = time.ParseDuration(c.Timeout)
		if err != nil || s.timeout < minTimeout || s.timeout > maxTimeout {
			r.mistake("timeout", "must be a duration from 1s to 60s, such as 20s")
		}
	}
	switch c.Format {
	case "", FormatLegacy:
	case FormatEnvelope:
		s.format = FormatEnvelope
	default:
		_, hint := suggest(string(c.Format), []string{string(FormatLegacy), string(FormatEnvelope)})
		r.mistake("format", "must be legacy or envelope%s", hint)
	}
	return s, errors.Join(r.errs...)
}

func (r *reader) add(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// object reads the keys in their alphabetical order: JSON objects have none of their own.
func (r *reader) object(with json.RawMessage) (c Config, ok bool) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(with, &object); err != nil {
		r.mistake("", "must be one object")
		return c, false
	}
	fields := map[string]any{"url": &c.URL, "secret": &c.Secret, "headers": &c.Headers, "timeout": &c.Timeout, "format": &c.Format}
	known := slices.Sorted(maps.Keys(fields))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch field := fields[key].(type) {
		case nil:
			meant, hint := suggest(key, known)
			if _, given := object[meant]; !given {
				r.settled[meant] = true
			}
			r.mistake(key, "unknown field %q%s", key, hint)
		case *map[string]string:
			*field = r.texts(key, object[key])
		default:
			r.text(key, object[key], field)
		}
	}
	return c, true
}

// text reads a string into v.
func (r *reader) text(path string, raw json.RawMessage, v any) {
	if json.Unmarshal(raw, v) != nil {
		r.settled[path] = true
		r.mistake(path, "must be text, not %s", describe(raw))
	}
}

func (r *reader) texts(path string, raw json.RawMessage) map[string]string {
	var items map[string]json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		r.mistake(path, "must be an object, not %s", describe(raw))
	}
	out := make(map[string]string, len(items))
	for _, key := range slices.Sorted(maps.Keys(items)) {
		var v string
		r.text(path+"."+key, items[key], &v)
		out[key] = v
	}
	return out
}

// describe names what kind of value it is: the value itself may be a secret.
func describe(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	default:
		return "a number"
	}
}

func parseURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, &sdk.ConfigError{Path: "url", Message: "is required"}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || !validPort(u.Port()) {
		return nil, &sdk.ConfigError{Path: "url", Message: "is not a valid URL"} // not quoted: it may hold secrets
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, &sdk.ConfigError{Path: "url", Message: "must begin with http:// or https://"}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// validPort says whether a URL's port can be dialled; url.Parse takes any number. "" is the
// scheme's own.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

func (r *reader) header(in map[string]string) http.Header {
	out := http.Header{}
	for _, k := range slices.Sorted(maps.Keys(in)) {
		v, key, path := in[k], http.CanonicalHeaderKey(k), "headers."+k
		switch {
		case !isToken(k):
			r.mistake(path, "is not a header name")
		case strings.ContainsAny(v, "\r\n\x00"):
			r.mistake(path, "must be one line")
		case strings.HasPrefix(key, "Webhook-"), key == "Host", key == "Content-Length", key == "Content-Type",
			key == "Transfer-Encoding", key == "Connection", key == "Accept-Encoding":
			r.mistake(path, "%s is set by the hub", key)
		}
		out[key] = []string{v}
	}
	return out
}

func isToken(s string) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c) {
			return false
		}
	}
	return s != ""
}

// suggest returns the candidate that is at most two slips of the finger away from
// word, and a hint that names it; "" and "" if none is.
func suggest(word string, candidates []string) (meant, hint string) {
	if len(word) > 64 {
		return "", ""
	}
	best := 1 + min(2, len(word)/2)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < best {
			best, meant = d, c
		}
	}
	if meant == "" {
		return "", ""
	}
	return meant, fmt.Sprintf(", did you mean %q?", meant)
}

// distance counts insertions, deletions, substitutions and swaps of neighbours.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
