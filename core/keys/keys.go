// Package keys owns the API keys of the REST API: how they look, how they are stored, who
// may be without one, and which rules keep an operator from locking out everybody or from
// opening the API unawares. What a scope allows on which route is the API's to say.
//
// All keys are one entry of the database's map, changed by compare-and-set, so that the
// rules hold also where several hubs change keys at the same time, and moving a database
// takes them along. Only SHA-256 of a key is stored: it has 256 random bits, so that nothing
// slower is needed.
package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Scope says what a key is for. Each includes those after it.
type Scope string

// The scopes.
const (
	Admin Scope = "admin" // everything
	Send  Scope = "send"  // send and read
	Read  Scope = "read"  // read
)

// Scopes are all of them, the widest first.
func Scopes() []Scope { return []Scope{Admin, Send, Read} }

// Includes says whether a key of this scope may do what needs another. A scope that is not
// known includes nothing.
func (s Scope) Includes(needed Scope) bool {
	have, want := slices.Index(Scopes(), s), slices.Index(Scopes(), needed)
	return have >= 0 && want >= 0 && have <= want
}

// Key is what is known of an API key, without the key itself.
type Key struct {
	// ID is the part of the key that is no secret: 12 hex digits, or EnvironmentID.
	ID string
	// Name is for people: 1 to 100 characters.
	Name  string
	Scope Scope
	// Accounts are the only ones that it may touch; empty means all.
	Accounts  []string
	CreatedAt time.Time
	// ExpiresAt is when it ends; zero for one that does not.
	ExpiresAt time.Time
	// LastUsed is known to the minute, about; zero if it was never used.
	LastUsed time.Time

	hash [sha256.Size]byte
}

// EnvironmentID is the ID of the key that the configuration gives (WILDCAT_ADMIN_KEY). It is
// stored nowhere.
const EnvironmentID = "environment"

// Limited says whether the key is for some accounts only.
func (k Key) Limited() bool { return len(k.Accounts) > 0 }

// lasting says whether one can administer with it, now and for ever.
func (k Key) lasting() bool { return k.Scope == Admin && !k.Limited() && k.ExpiresAt.IsZero() }

// The errors of Check.
var (
	// ErrUnknown: there is no such key.
	ErrUnknown = errors.New("unknown API key")
	// ErrExpired: there was.
	ErrExpired = errors.New("API key has expired")
)

// Refusal is a change that the rules do not allow, or that is malformed. Its text is for the
// operator, and its code is stable.
type Refusal struct {
	Code string
	Text string
	// Rule says that the request is well-formed, and what is there forbids it.
	Rule bool
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

func malformed(code, text string) error { return &Refusal{Code: code, Text: text} }

func against(code, text string) error { return &Refusal{Code: code, Text: text, Rule: true} }

const (
	prefix     = "wk_"
	idBytes    = 6
	secretSize = 32
	// secretText is how many base62 digits hold 32 bytes.
	secretText = 43
)

// token matches a whole key. It has no character at which a double click would end.
var token = regexp.MustCompile(`^` + prefix + `([0-9a-f]{12})_[0-9A-Za-z]{43}$`)

// idOf returns a key's ID, or "" for what cannot be a key of ours.
func idOf(key string) string {
	if m := token.FindStringSubmatch(key); m != nil {
		return m[1]
	}
	return ""
}

// generate makes a key.
func generate(random io.Reader) (id, key string, err error) {
	raw := make([]byte, idBytes+secretSize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	id = hex.EncodeToString(raw[:idBytes])
	secret := new(big.Int).SetBytes(raw[idBytes:]).Text(62)
	return id, prefix + id + "_" + strings.Repeat("0", secretText-len(secret)) + secret, nil
}

// is compares in constant time.
func (k Key) is(hash [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(k.hash[:], hash[:]) == 1
}
