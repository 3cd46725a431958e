package lua

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// MaxBundle bounds the sources and tests of a set of rules, in bytes: it is kept whole
// in the database, and read whole by every hub.
const MaxBundle = 4 << 20

// maxEncoded bounds an encoded Bundle when it is unpacked: base64, and what is not text.
const maxEncoded = 2*MaxBundle + 1<<20

// Bundle is a set of rules as it is kept and passed on: all that decides what the rules
// do, and nothing of the machine that read their files.
type Bundle struct {
	// Instructions, MaxAge and RepliesPerMinute are what wildcat.yaml says for all rules.
	Instructions     int           `json:"instructions"`
	MaxAge           time.Duration `json:"max_age"`
	RepliesPerMinute int           `json:"replies_per_minute"`
	// Rules run in this order.
	Rules []BundledRule `json:"rules,omitempty"`
}

// BundledRule is one rule with its file. A field that is added here must be left out of
// the JSON while it is empty, or else every version gets another name.
type BundledRule struct {
	Name string `json:"name"`
	// File is the file as it was configured, for messages: it is no part of the version.
	File     string        `json:"file,omitempty"`
	Accounts []string      `json:"accounts,omitempty"`
	Chats    []string      `json:"chats,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"`
	OnError  string        `json:"on_error,omitempty"`
	// Source is the Lua file, Test the fixture beside it; nil for none.
	Source []byte `json:"source"`
	Test   []byte `json:"test,omitempty"`

	// unread is why the file or its fixture could not be read; Load reports it.
	unread error
}

// Read reads the files of all rules and the fixtures beside them. What cannot be read is
// reported by Load, along with the mistakes in the others.
func Read(cfg Config) *Bundle {
	b := &Bundle{Instructions: cfg.Limits.Instructions, MaxAge: cfg.Replies.MaxAge, RepliesPerMinute: cfg.Replies.PerMinute}
	for _, rc := range cfg.Rules {
		f := BundledRule{
			Name: rc.name(), File: rc.display(), Accounts: rc.Accounts, Chats: rc.Chats, Timeout: rc.Timeout, OnError: rc.OnError,
		}
		path := cfg.path(rc)
		if f.Source, f.unread = readFile(path); f.unread == nil {
			f.Test, f.unread = readFile(testPath(path))
			if errors.Is(f.unread, fs.ErrNotExist) {
				f.unread = nil
			}
		}
		b.Rules = append(b.Rules, f)
	}
	return b
}

// testPath is where the fixture of a rule's file is looked for.
func testPath(file string) string { return strings.TrimSuffix(file, ".lua") + ".test.json" }

// readFile reads a little more than a bundle may hold, at most.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBundle+1))
}

func (f *BundledRule) config() RuleConfig {
	return RuleConfig{File: f.File, Name: f.Name, Accounts: f.Accounts, Chats: f.Chats, Timeout: f.Timeout, OnError: f.OnError}
}

func (b *Bundle) size() int {
	n := 0
	for i := range b.Rules {
		n += len(b.Rules[i].Source) + len(b.Rules[i].Test)
	}
	return n
}

// Version names the content, in 12 hex digits: the same rules have the same version
// wherever their files are.
func (b *Bundle) Version() string {
	bare := *b
	bare.Rules = make([]BundledRule, len(b.Rules))
	for i, f := range b.Rules {
		f.File = ""
		bare.Rules[i] = f
	}
	return digest(bare)[:12]
}

// content identifies one rule with the limits that it has.
func (b *Bundle) content(f *BundledRule) string {
	bare := *f
	bare.File = ""
	return digest(Bundle{Instructions: b.Instructions, Rules: []BundledRule{bare}})
}

func digest(b Bundle) string {
	text, _ := json.Marshal(b) //nolint:errchkjson // texts and numbers
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Encode packs the bundle; it is deterministic.
func (b *Bundle) Encode() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if err := json.NewEncoder(zip).Encode(b); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("pack rules: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeBundle unpacks what Encode has packed.
func DecodeBundle(packed []byte) (*Bundle, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack rules: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(zip, maxEncoded+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unpack rules: %w", err)
	case len(text) > maxEncoded:
		return nil, fmt.Errorf("unpack rules: more than %d bytes", maxEncoded)
	}
	b := &Bundle{}
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("unpack rules: %w", err)
	}
	return b, nil
}

// test runs the fixtures of all rules of the set, which were built from the bundle.
func (b *Bundle) test(set *Set) []Problem {
	built := make(map[string]*rule, len(set.rules))
	for _, r := range set.rules {
		built[r.Name()] = r
	}
	var bad []Problem
	for i := range b.Rules {
		f := &b.Rules[i]
		if r := built[f.Name]; r != nil && f.Test != nil {
			bad = append(bad, f.test(r)...)
		}
	}
	return bad
}

func (f *BundledRule) test(r *rule) []Problem {
	file := testPath(f.File)
	fx, err := parseFixture(file, f.Test)
	if err != nil {
		return []Problem{{File: file, Message: err.Error()}}
	}
	if own := filepath.Base(f.File); filepath.Base(fx.Rule) != own {
		return nil // it is about another file
	}
	results, bad := fx.run(r)
	src := newSource(file, f.Test)
	for _, c := range results {
		if c.Problem == "" {
			continue
		}
		quoted, _ := json.Marshal(c.Name) //nolint:errchkjson // a text
		line, col := src.first(string(quoted))
		bad = append(bad, src.problem(line, col, "the rule's test %q fails: %s", c.Name, c.Problem))
	}
	return bad
}
