package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/store"
)

// Keys are the API keys, as *keys.Ring has them.
type Keys interface {
	// Mode says what a request needs at this moment.
	Mode() keys.Mode
	// Check returns what is known of a key, or keys.ErrUnknown or keys.ErrExpired.
	Check(key string) (keys.Key, error)
	// Create, Delete and List manage them; an error that is a *keys.Refusal is for the client.
	Create(ctx context.Context, r keys.Request) (keys.Key, string, error)
	Delete(ctx context.Context, id string) (keys.Key, error)
	List(ctx context.Context) ([]keys.Key, error)
}

// access is who may make a request: the scope that its key needs.
type access string

const (
	// anyone needs no key. What such a route tells must be worth nothing.
	anyone access = "anyone"
	// onlyHubs: no key is of use; another hub on the same database has to vouch for it.
	onlyHubs  access = "hub"
	needRead         = access(keys.Read)
	needSend         = access(keys.Send)
	needAdmin        = access(keys.Admin)
)

// concern is which accounts a request is about: how a key that is limited to some of them is
// kept to these.
type concern string

const (
	// noAccount: none, and a limited key may make it.
	noAccount concern = "none"
	// thisAccount: the one of the path. Others do not exist for a limited key.
	thisAccount concern = "path"
	// heldAccount: the same, and only the hub that holds the account can answer. It is
	// passed on to that one, which takes this hub's word for who asks.
	heldAccount concern = "holder"
	// itsAccounts: the handler keeps to those of the caller.
	itsAccounts concern = "filtered"
	// allAccounts: all of them, or the hub itself. A limited key is refused.
	allAccounts concern = "all"
)

// caller is who makes a request.
type caller struct {
	// key is zero where no key was needed, or given.
	key keys.Key
	// trusted: a key was checked, or none was needed. Where anyone may ask, only such a caller
	// learns of the hub's inside.
	trusted bool
	// vouched: another hub passed the request on, which has judged it.
	vouched bool
}

// limits are the only accounts that the caller may know of; nil means all.
func (c caller) limits() []string { return c.key.Accounts }

// sees says whether the caller may know of an account. What belongs to none is for those who
// may know of all.
func (c caller) sees(account string) bool {
	return !c.key.Limited() || slices.Contains(c.key.Accounts, account)
}

const callerKey = "wildcat.caller"

// callerOf is who makes a request, once admit let it in.
func callerOf(c *gin.Context) caller {
	v, _ := c.Get(callerKey)
	who, _ := v.(caller)
	return who
}

// admit lets in who may make requests of a row.
func (s *Server) admit(r route) gin.HandlerFunc {
	return s.wrap(func(c *gin.Context) error {
		who, err := s.judge(c, r)
		if err != nil {
			return err
		}
		c.Set(callerKey, who)
		return nil
	})
}

// judgeHub lets in other hubs.
func (s *Server) judgeHub(c *gin.Context) (caller, error) {
	if s.deps.Peers == nil {
		return caller{}, errNoHub
	}
	vouched, err := s.deps.Peers.Vouched(c.Request)
	if err == nil && !vouched {
		err = errNoHub
	}
	return caller{trusted: vouched, vouched: vouched}, err
}

// judge finds out who makes a request, and whether they may.
func (s *Server) judge(c *gin.Context, r route) (caller, error) {
	if r.concern == heldAccount && s.deps.Peers != nil {
		vouched, err := s.deps.Peers.Vouched(c.Request)
		if err != nil || vouched {
			return caller{trusted: true, vouched: vouched}, err
		}
	}
	if r.access == onlyHubs {
		return s.judgeHub(c)
	}
	open, token := s.deps.Keys.Mode() != keys.Needed, presented(c.Request.Header)
	if r.access == anyone {
		key, err := s.deps.Keys.Check(token)
		return caller{trusted: open || err == nil && !key.Limited()}, nil
	}
	if open {
		s.auth.count(authOpen)
		return caller{trusted: true}, nil
	}
	if token == "" {
		return caller{}, s.refuse(c, authMissing, errNoKey, keys.Key{})
	}
	key, err := s.deps.Keys.Check(token)
	switch {
	case errors.Is(err, keys.ErrExpired):
		return caller{}, s.refuse(c, authExpired, errKeyExpired, key)
	case err != nil:
		return caller{}, s.refuse(c, authWrong, errWrongKey, keys.Key{})
	case !key.Scope.Includes(keys.Scope(r.access)):
		return caller{}, s.refuse(c, authForbidden, errScope(key.Scope, r), key)
	case key.Limited() && r.concern == allAccounts:
		return caller{}, s.refuse(c, authForbidden, errLimited(r), key)
	}
	who := caller{key: key, trusted: true}
	if id := c.Param("accountId"); (r.concern == thisAccount || r.concern == heldAccount) && !who.sees(id) {
		if _, err := accountParam(c); err != nil {
			return caller{}, err
		}
		// As if there were none: whether there is one is not for this key to know.
		return caller{}, s.refuse(c, authForbidden, errAccount, key)
	}
	s.auth.count(authOK)
	return who, nil
}

// refuse counts and logs a request that was not let in.
func (s *Server) refuse(c *gin.Context, result authResult, answer *failure, key keys.Key) error {
	s.auth.count(result)
	if answer.status == http.StatusUnauthorized {
		challenge := `Bearer realm="wildcat"`
		if result != authMissing {
			challenge += `, error="invalid_token"`
		}
		c.Header("WWW-Authenticate", challenge)
	}
	if again, quiet := s.auth.tell(result, s.deps.Now()); !quiet {
		s.log.Warn("request was not let in", "result", string(result), "remote", hostOf(c.Request.RemoteAddr), "method", c.Request.Method,
			"route", routeOf(c), "key", key.ID, "name", key.Name, "more", again)
	}
	return answer
}

// errNotYours is what a handler answers where a limited caller names an account of others.
func errNotYours(account string) *failure {
	return denied("this API key is limited to some accounts, and this one is not among them").with("account", account)
}

// asked is the accounts that a list of a caller's is about: one, if the request names it, and
// those that it may know of. none says that there can be nothing in it.
func asked(c *gin.Context, valid func(string) bool) (account string, among []string, none bool) {
	who := callerOf(c)
	account = c.Query("accountId")
	if account == "" {
		return "", who.limits(), false
	}
	return account, nil, !valid(account) || !who.sees(account)
}

// ofCaller passes an error on, or hides what belongs to an account of others: it looks as if
// it were not there.
func ofCaller(c *gin.Context, account string, err error) error {
	if err == nil && !callerOf(c).sees(account) {
		return store.ErrNotFound
	}
	return err
}
