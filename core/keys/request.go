package keys

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Request asks for a new key.
type Request struct {
	// Name is for people: 1 to 100 characters.
	Name string
	// Scope is what the key is for.
	Scope Scope
	// Accounts limit it to these; empty means all. They need not exist yet.
	Accounts []string
	// ExpiresAt is when it ends; zero for never.
	ExpiresAt time.Time
}

const (
	maxName     = 100
	maxAccounts = 100
	// maxKeys bounds the one entry that holds all of them.
	maxKeys = 1000
	// lastYear is the last one that can be stored.
	lastYear = 9999
)

var accountID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// check says what is malformed, and returns the request as it is stored.
func (r Request) check(now time.Time) (Request, error) {
	r.Name = strings.TrimSpace(r.Name)
	if n := utf8.RuneCountInString(r.Name); n < 1 || n > maxName || !utf8.ValidString(r.Name) || strings.ContainsFunc(r.Name, unicode.IsControl) {
		return r, malformed("invalid_name", "name is required: 1 to 100 printable characters")
	}
	if !slices.Contains(Scopes(), r.Scope) {
		return r, malformed("invalid_scope", "scope must be admin, send or read")
	}
	if len(r.Accounts) > maxAccounts {
		return r, malformed("invalid_accounts", fmt.Sprintf("accounts must be at most %d", maxAccounts))
	}
	var accounts []string
	for _, id := range r.Accounts {
		if !accountID.MatchString(id) {
			return r, malformed("invalid_accounts", "accounts must be a list of account ids: 1 to 64 letters, digits, _ or - each")
		}
		if !slices.Contains(accounts, id) {
			accounts = append(accounts, id)
		}
	}
	r.Accounts = accounts
	if !r.ExpiresAt.IsZero() {
		if r.ExpiresAt = r.ExpiresAt.UTC().Truncate(time.Second); !r.ExpiresAt.After(now) {
			return r, malformed("invalid_expiry", "the key must expire in the future")
		}
		if r.ExpiresAt.Year() > lastYear {
			return r, malformed("invalid_expiry", "the key must expire before the year 10000, or never")
		}
	}
	return r, nil
}

// mayCreate applies the rule of the first key: without one that can administer for ever, the
// API would be closed, and nobody could make another key over it.
func (r *Ring) mayCreate(have []Key, k Key) error {
	switch {
	case len(have) >= maxKeys:
		return against("too_many_keys", fmt.Sprintf("there are %d keys: delete some first", maxKeys))
	case len(have) == 0 && !k.lasting() && !r.environment():
		return against("first_key", "the first key must be an admin key for all accounts that does not expire: once it exists the API needs a key, and nobody else could make more")
	}
	return nil
}

// mayDelete keeps a key with which the others are administered as long as there are any, and
// the last one where other machines depend on it: there the API would refuse everybody (it
// never opens itself to them), and no hub would start again.
func (r *Ring) mayDelete(left []Key) error {
	if r.environment() || slices.ContainsFunc(left, Key.lasting) {
		return nil
	}
	const make1 = "make another admin key that is for all accounts and does not expire first, or set WILDCAT_ADMIN_KEY"
	switch {
	case len(left) > 0:
		return against("last_admin_key", "this is the last admin key that is for all accounts and does not expire, and nobody could administer the other keys: "+make1+", or delete the others before it")
	case !r.cfg.Loopback:
		return against("last_admin_key", "this is the last key, and the address can be reached from other machines: without a key the hub would refuse every request, and not start again: "+make1)
	case r.cfg.Proxied:
		return against("last_admin_key", "this is the last key, and a proxy (server.allow_hosts) may pass on requests of other machines, to which the API would be open: "+make1)
	case r.cfg.Shared:
		return against("last_admin_key", "this is the last key, and other hubs may share the database: one that other machines can reach would refuse every request: "+make1)
	}
	return nil
}
