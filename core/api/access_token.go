package api

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/keys"
)

// maxToken is longer than any key is, in bytes.
const maxToken = 512

// presented is the key that a request's headers give, or "" if none does. X-API-Key comes
// first: what is in front of the hub may have a use of its own for Authorization. A header that is
// given twice, or is too long, gives a key that there is none of.
func presented(h http.Header) string {
	const nonsense = "-"
	if values := h.Values("X-API-Key"); len(values) > 0 {
		key := strings.TrimSpace(values[0])
		if len(values) > 1 || len(key) > maxToken {
			return nonsense
		}
		if key != "" {
			return key
		}
	}
	values := h.Values("Authorization")
	if len(values) == 0 {
		return ""
	}
	scheme, key, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "" // meant for somebody else
	}
	key = strings.TrimSpace(key)
	if len(values) > 1 || len(key) > maxToken {
		return nonsense
	}
	return key
}

// authResult is what came of asking who makes a request: a label of a metric.
type authResult string

const (
	authOK        authResult = "ok"
	authMissing   authResult = "missing"
	authWrong     authResult = "wrong"
	authExpired   authResult = "expired"
	authForbidden authResult = "forbidden"
	authOpen      authResult = "open" // no key was needed
)

// authLogEvery bounds how often refusals of one kind are logged.
const authLogEvery = 10 * time.Second

// authWatch counts results, and bounds what is logged of them.
type authWatch struct {
	total *prometheus.CounterVec

	mu   sync.Mutex
	last map[authResult]time.Time
	more map[authResult]int
}

func newAuthWatch(reg prometheus.Registerer) (*authWatch, error) {
	w := &authWatch{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_api_auth_total", Help: "REST requests by what came of asking for their API key; open: none was needed.",
		}, []string{"result"}),
		last: map[authResult]time.Time{}, more: map[authResult]int{},
	}
	for _, result := range []authResult{authOK, authMissing, authWrong, authExpired, authForbidden, authOpen} {
		w.total.WithLabelValues(string(result))
	}
	return w, reg.Register(w.total)
}

func (w *authWatch) count(result authResult) { w.total.WithLabelValues(string(result)).Inc() }

// tell says whether a refusal is to be logged, and how many were not since the last one.
func (w *authWatch) tell(result authResult, now time.Time) (more int, quiet bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, ok := w.last[result]; ok && now.Sub(last) < authLogEvery {
		w.more[result]++
		return 0, true
	}
	more = w.more[result]
	w.last[result], w.more[result] = now, 0
	return more, false
}

// The answers to who may not.
var (
	errNoKey      = unauthorized("this request needs an API key: send it as Authorization: Bearer …, or as X-API-Key")
	errWrongKey   = unauthorized("there is no such API key")
	errKeyExpired = unauthorized("this API key has expired")
)

// The answers about keys themselves.
var (
	errKey          = absent("Key not found", "key_not_found")
	errKeyName      = bad("name is required: 1 to 100 printable characters", "invalid_name")
	errKeyScope     = bad("scope must be admin, send or read", "invalid_scope")
	errKeyAccounts  = bad("accounts must be a list of account ids: 1 to 64 letters, digits, _ or - each", "invalid_accounts")
	errKeyExpiry    = bad("expiresIn must be a duration such as 720h, or expiresAt a time such as 2027-01-31T12:00:00Z, and not both", "invalid_expiry")
	errKeysDisabled = &failure{status: http.StatusConflict, text: "auth.disabled is set, so that anybody could ask this: start the hub without it, or stop it and use `wildcat keys` on its database (on MongoDB it need not stop)", code: "auth_disabled"}
)

func unauthorized(text string) *failure {
	return &failure{status: http.StatusUnauthorized, text: text, code: "unauthorized"}
}

func denied(text string) *failure {
	return &failure{status: http.StatusForbidden, text: text, code: "forbidden"}
}

func errScope(have keys.Scope, r route) *failure {
	return denied("this API key has the scope "+string(have)+", and "+r.method+" "+r.path+" needs "+string(r.access)).
		with("scope", string(have)).with("needed", string(r.access))
}

func errLimited(r route) *failure {
	return denied("this API key is limited to some accounts, and " + r.method + " " + r.path + " is about all of them: use a key for all accounts")
}
