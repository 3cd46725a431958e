package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// make1 makes a key, and the first admin key before it, and returns its header.
func (r *rig) make1(t *testing.T, req keys.Request) string {
	t.Helper()
	if !r.keys.Any() {
		_, _, err := r.keys.Create(t.Context(), keys.Request{Name: "first", Scope: keys.Admin})
		require.NoError(t, err)
	}
	if req.Name == "" {
		req.Name = "a key"
	}
	_, token, err := r.keys.Create(t.Context(), req)
	require.NoError(t, err)
	return "Authorization: Bearer " + token
}

// requestOf is a request of a row, about an account.
func requestOf(row route, path, account string) (request, body string) {
	path = strings.NewReplacer(":accountId", account, ":messageId", "M1", ":chatId", "9@lid", ":id", "none").Replace(path)
	if row.method == http.MethodPost {
		body = `{"to":"9@lid","message":"x","url":"http://a/","accountId":"` + account + `","id":"fresh"}`
	}
	return row.method + " " + path, body
}

// Whatever the table says must hold at every path at which a row is served, for a key of every
// scope, for none, and for one that is limited to accounts.
func TestEveryRowLetsInWhomItSays(t *testing.T) {
	for _, row := range newRig(t).server.routes() {
		require.Contains(t, []access{anyone, onlyHubs, needRead, needSend, needAdmin}, row.access, row.path)
		require.Contains(t, []concern{noAccount, thisAccount, heldAccount, itsAccounts, allAccounts}, row.concern, row.path)
		hasAccount := strings.Contains(row.path, ":accountId")
		require.Equal(t, hasAccount, row.concern == thisAccount || row.concern == heldAccount, "%s: who is kept to the account of the path", row.path)
		if row.method != http.MethodGet {
			require.Contains(t, []access{onlyHubs, needSend, needAdmin}, row.access, "%s %s writes", row.method, row.path)
		}
		for _, path := range row.paths() {
			code := func(account string, headers ...string) int {
				r := newRig(t)
				if len(headers) == 0 {
					r.make1(t, keys.Request{Scope: keys.Read})
				}
				var sent []string
				for _, h := range headers {
					scope, accounts, _ := strings.Cut(h, " ")
					req := keys.Request{Scope: keys.Scope(scope)}
					if accounts != "" {
						req.Accounts = []string{accounts}
					}
					sent = append(sent, r.make1(t, req))
				}
				request, body := requestOf(row, path, account)
				return r.do(request, body, sent...).Code
			}
			name := row.method + " " + path
			if row.access == anyone {
				require.Less(t, code("shop"), 300, name)
				require.Less(t, code("shop", "read other"), 300, name)
				continue
			}
			if row.access == onlyHubs {
				require.Equal(t, 403, code("shop"), name)
				require.Equal(t, 403, code("shop", "admin"), name)
				continue
			}
			require.Equal(t, 401, code("shop"), name)
			for _, scope := range keys.Scopes() {
				got := code("shop", string(scope))
				if scope.Includes(keys.Scope(row.access)) {
					require.NotContains(t, []int{401, 403}, got, "%s with %s", name, scope)
				} else {
					require.Equal(t, 403, got, "%s with %s", name, scope)
				}
			}
			own, others := code("shop", "admin shop"), code("shop", "admin other")
			switch row.concern {
			case allAccounts:
				require.Equal(t, 403, own, name)
			case thisAccount, heldAccount:
				require.NotEqual(t, 403, own, name)
				require.Equal(t, 404, others, name)
				require.Equal(t, 404, code("nobody", "admin other"), "%s: as if there were none", name)
			default:
				require.NotContains(t, []int{401, 500}, own, name)
			}
		}
	}
}

func TestWithoutAnyKeyALoopbackAddressIsOpenAndTheFirstKeyClosesIt(t *testing.T) {
	r := newRig(t)
	require.Equal(t, 200, r.do("GET /accounts", "").Code)
	require.Equal(t, 200, r.do("GET /accounts", "", "Authorization: Bearer whatever").Code, "nobody looks at it")
	rec := r.do("POST /v1/keys", `{"name":"reader","scope":"read"}`)
	require.Equal(t, 409, rec.Code)
	require.Contains(t, rec.Body.String(), `"code":"first_key"`)

	rec = r.do("POST /v1/keys", `{"name":" boss ","scope":"admin"}`)
	require.Equal(t, 201, rec.Code, rec.Body.String())
	var made struct {
		Token string
		Key   keyView
	}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &made))
	require.Equal(t, "boss", made.Key.Name)
	rec = r.do("GET /accounts", "")
	require.Equal(t, 401, rec.Code)
	require.Equal(t, `Bearer realm="wildcat"`, rec.Header().Get("WWW-Authenticate"))
	require.JSONEq(t, `{"ok":false,"code":"unauthorized","error":"this request needs an API key: send it as Authorization: Bearer …, or as X-API-Key"}`, rec.Body.String())
	for _, request := range []string{"HEAD /accounts", "GET /accounts/", "GET /v1/accounts", "HEAD /v1/accounts/"} {
		require.Equal(t, 401, r.do(request, "").Code, request)
	}
	rec = r.do("GET /accounts", "", "X-API-Key: wk_"+made.Key.ID+"_"+strings.Repeat("0", 43))
	require.Equal(t, 401, rec.Code)
	require.Equal(t, `Bearer realm="wildcat", error="invalid_token"`, rec.Header().Get("WWW-Authenticate"))
	for _, h := range []string{"Authorization: Bearer " + made.Token, "Authorization: bearer  " + made.Token, "X-API-Key: " + made.Token} {
		require.Equal(t, 200, r.do("GET /accounts", "", h).Code, h)
	}
	require.Equal(t, 401, r.do("GET /accounts", "", "Authorization: Basic "+made.Token).Code)
	require.Equal(t, 200, r.do("GET /accounts", "", "Authorization: Basic dTpw", "X-API-Key: "+made.Token).Code, "somebody in front has a use for the other header")
	require.Equal(t, 403, r.do("POST /accounts", `{"id":"x"}`, "X-API-Key: "+made.Token, "Origin: https://evil.example.com").Code, "the guard stays")

	h := "X-API-Key: " + made.Token
	require.Contains(t, r.do("GET /v1/keys", "", h).Body.String(), `"name":"boss"`)
	require.NotContains(t, r.do("GET /v1/keys", "", h).Body.String(), made.Token)
	rec = r.do("DELETE /v1/keys/"+made.Key.ID, "", h)
	require.JSONEq(t, `{"ok":true,"message":"Key revoked","open":true}`, rec.Body.String())
	require.Equal(t, 200, r.do("GET /accounts", "").Code)
	require.Equal(t, 404, r.do("DELETE /v1/keys/"+made.Key.ID, "").Code)

	exposed := r.do("GET /metrics", "").Body.String()
	for _, line := range []string{`result="missing"} 6`, `result="wrong"} 1`, `result="expired"} 0`} {
		require.Contains(t, exposed, `wildcat_api_auth_total{`+line)
	}
	require.NotContains(t, r.logs.String(), made.Token[16:])
	require.Contains(t, r.logs.String(), "key="+made.Key.ID)
}

func TestRequestsForKeysAreChecked(t *testing.T) {
	r := newRig(t)
	boss := r.make1(t, keys.Request{Scope: keys.Admin})
	for _, c := range []struct{ body, code string }{
		{`{"scope":"read"}`, "invalid_name"},
		{`{"name":1,"scope":"read"}`, "invalid_name"},
		{`{"name":"a\u0007b","scope":"read"}`, "invalid_name"},
		{`{"name":"` + strings.Repeat("n", 101) + `","scope":"read"}`, "invalid_name"},
		{`{"name":"a"}`, "invalid_scope"},
		{`{"name":"a","scope":"root"}`, "invalid_scope"},
		{`{"name":"a","scope":[]}`, "invalid_scope"},
		{`{"name":"a","scope":"read","accounts":"shop"}`, "invalid_accounts"},
		{`{"name":"a","scope":"read","accounts":["a b"]}`, "invalid_accounts"},
		{`{"name":"a","scope":"read","expiresIn":"soon"}`, "invalid_expiry"},
		{`{"name":"a","scope":"read","expiresIn":"-1h"}`, "invalid_expiry"},
		{`{"name":"a","scope":"read","expiresIn":720}`, "invalid_expiry"},
		{`{"name":"a","scope":"read","expiresAt":"2020-01-01T00:00:00Z"}`, "invalid_expiry"},
		{`{"name":"a","scope":"read","expiresIn":"1h","expiresAt":"2030-01-01T00:00:00Z"}`, "invalid_expiry"},
	} {
		rec := r.do("POST /v1/keys", c.body, boss)
		require.Equal(t, 400, rec.Code, c.body)
		require.Contains(t, rec.Body.String(), `"code":"`+c.code+`"`, c.body)
	}
	rec := r.do("POST /v1/keys", `{"name":"a","scope":"send","accounts":["shop","shop","new"],"expiresIn":"90m"}`, boss)
	require.Equal(t, 201, rec.Code)
	require.Regexp(t, `"accounts":\["shop","new"\],"createdAt":"2026-01-31T12:00:00.005Z","expiresAt":"2026-01-31T13:30:00.000Z","lastUsedAt":null,"stored":true`, rec.Body.String())
	require.Regexp(t, `"token":"wk_[0-9a-f]{12}_[0-9A-Za-z]{43}"`, rec.Body.String())
}

func TestAnExpiredKeyIsRefused(t *testing.T) {
	r := newRig(t)
	h := r.make1(t, keys.Request{Scope: keys.Read, ExpiresAt: noon.Add(time.Hour)})
	require.Equal(t, 200, r.do("GET /accounts", "", h).Code)
	r.later = time.Hour
	rec := r.do("GET /accounts", "", h)
	require.Equal(t, 401, rec.Code)
	require.Contains(t, rec.Body.String(), "has expired")
	require.Contains(t, r.logs.String(), "result=expired")
}

func TestWhereAuthIsDisabledNobodyMakesKeysOverREST(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.Host = "0.0.0.0" })
	_, _, err := r.keys.Create(t.Context(), keys.Request{Name: "a", Scope: keys.Admin})
	require.NoError(t, err)
	require.Equal(t, 200, r.do("GET /accounts", "").Code)
	for _, request := range []string{"POST /v1/keys", "DELETE /v1/keys/x"} {
		rec := r.do(request, "")
		require.Equal(t, 409, rec.Code)
		require.Contains(t, rec.Body.String(), `"code":"auth_disabled"`)
	}
}

func TestHealthTellsStrangersUpOrDownAndNoMore(t *testing.T) {
	r := newRig(t)
	h := r.make1(t, keys.Request{Scope: keys.Read})
	limited := r.make1(t, keys.Request{Scope: keys.Read, Accounts: []string{"shop"}})
	r.checks = []Check{{Name: "store", Error: "no answer from db-7"}}
	for _, headers := range [][]string{nil, {limited}, {"X-API-Key: wrong"}} {
		require.JSONEq(t, `{"ok":true}`, r.do("GET /healthz", "", headers...).Body.String())
		rec := r.do("GET /readyz", "", headers...)
		require.Equal(t, 503, rec.Code)
		require.JSONEq(t, `{"ok":false,"error":"not ready","code":"not_ready"}`, rec.Body.String())
	}
	require.Contains(t, r.do("GET /healthz", "", h).Body.String(), `"version":"test"`)
	require.Contains(t, r.do("GET /readyz", "", h).Body.String(), "db-7")
}

func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	r := newRig(t)
	r.make1(t, keys.Request{Scope: keys.Read})
	for range 50 {
		r.do("GET /accounts", "", "X-API-Key: hunter2")
	}
	require.Equal(t, 1, strings.Count(r.logs.String(), "request was not let in"))
	r.later = authLogEvery
	r.do("GET /accounts", "", "X-API-Key: hunter2")
	require.Contains(t, r.logs.String(), "more=49")
	require.NotContains(t, r.logs.String(), "hunter2")
}

// Of the rows whose handlers keep to the caller's accounts by themselves, each is tried below.
func TestALimitedKeySeesItsAccountsOnly(t *testing.T) {
	r := newRig(t)
	var filtered []string
	for _, row := range r.server.routes() {
		if row.concern == itsAccounts {
			filtered = append(filtered, row.method+" "+row.path)
		}
	}
	require.Equal(t, []string{
		"GET /accounts", "GET /messages", "GET /media", "GET /media/:id", "POST /webhooks", "GET /webhooks", "DELETE /webhooks/:id",
		"GET /v1/events/:id/trace", "GET /v1/deliveries", "POST /v1/deliveries/:id/replay",
		"GET /v1/webhooks/:id", "POST /v1/webhooks/:id/enable", "POST /v1/webhooks/:id/disable", "POST /v1/webhooks/:id/discard",
	}, filtered, "a new one needs its lines here")
	mine := r.make1(t, keys.Request{Scope: keys.Admin, Accounts: []string{"new", "old"}})
	require.Equal(t, 2, strings.Count(r.do("GET /accounts", "", mine).Body.String(), `"_id"`))
	require.NotContains(t, r.do("GET /accounts", "", mine).Body.String(), "shop")

	both := []string{"new", "old"}
	r.do("GET /messages", "", mine)
	require.Equal(t, store.MessageQuery{Accounts: both, Limit: 50}, r.query)
	r.do("GET /messages?accountId=old", "", mine)
	require.Equal(t, store.MessageQuery{Account: "old", Limit: 50}, r.query)
	r.messages, r.query = []store.Message{message("M1")}, store.MessageQuery{}
	require.Contains(t, r.do("GET /messages?accountId=shop", "", mine).Body.String(), `"messages":[],`)
	require.Zero(t, r.query, "the store was not asked")
	require.Equal(t, 404, r.do("GET /accounts/shop/messages/M1", "", mine).Code)
	require.Equal(t, 404, r.do("GET /accounts/shop/chats", "", mine).Code)
	require.Equal(t, 200, r.do("GET /accounts/old/chats", "", mine).Code)

	r.files = map[string]string{"f1": "of the shop"}
	r.do("GET /media", "", mine)
	require.Equal(t, both, r.blobQ.Accounts)
	require.Equal(t, `{"media":[],"ok":true}`, strings.TrimSpace(r.do("GET /media?accountId=shop", "", mine).Body.String()))
	rec := r.do("GET /media/f1", "", mine)
	require.Equal(t, 404, rec.Code)
	require.NotContains(t, rec.Body.String(), "of the shop")
	require.Empty(t, rec.Header().Get("ETag"))

	r.hooks = []store.Webhook{{ID: "wh_all", URL: "http://a/"}, {ID: "wh_shop", URL: "http://b/", Account: "shop"}, {ID: "wh_old", URL: "http://c/", Account: "old"}}
	list := r.do("GET /webhooks", "", mine).Body.String()
	require.Contains(t, list, "wh_old")
	require.NotContains(t, list, "wh_all")
	require.NotContains(t, list, "wh_shop")
	for _, body := range []string{`{"url":"http://d/"}`, `{"url":"http://d/","accountId":"shop"}`} {
		require.Equal(t, 403, r.do("POST /webhooks", body, mine).Code, body)
	}
	require.Equal(t, 201, r.do("POST /webhooks", `{"url":"http://d/","accountId":"new"}`, mine).Code)
	for _, id := range []string{"wh_all", "wh_shop", "wh_none"} {
		require.Equal(t, 404, r.do("DELETE /webhooks/"+id, "", mine).Code)
		require.Equal(t, 404, r.do("GET /v1/webhooks/"+id, "", mine).Code)
		for _, do := range []string{"enable", "disable", "discard"} {
			require.Equal(t, 404, r.do("POST /v1/webhooks/"+id+"/"+do, "", mine).Code)
		}
	}
	require.Empty(t, append(r.enabled, r.disabled...))
	require.Equal(t, 200, r.do("GET /v1/webhooks/wh_old", "", mine).Code)
	for _, do := range []string{"enable", "disable", "discard"} {
		require.Equal(t, 200, r.do("POST /v1/webhooks/wh_old/"+do, "", mine).Code)
	}
	require.Equal(t, []string{"wh_old", "wh_old"}, append(r.enabled, r.disabled...))
	require.Len(t, r.hooks, 4)
	require.Equal(t, 200, r.do("DELETE /webhooks/wh_old", "", mine).Code)

	r.deliveries = []store.Delivery{delivery("d1", 0)}
	r.do("GET /v1/deliveries?event=e1", "", mine)
	require.Equal(t, both, r.deliveryQ.Accounts)
	require.Equal(t, 404, r.do("POST /v1/deliveries/d1/replay", "", mine).Code)
	require.Equal(t, 404, r.do("POST /v1/deliveries/none/replay", "", mine).Code)
	r.deliveries[0].Account = "old"
	require.Equal(t, 200, r.do("POST /v1/deliveries/d1/replay", "", mine).Code)

	r.trace["/e1"] = Trace{Event: &sdk.Event{ID: "e1", Account: "shop"}}
	r.trace["/e2"] = Trace{Event: &sdk.Event{ID: "e2", Account: "old"}}
	r.trace["/e3"] = Trace{}
	require.Equal(t, 404, r.do("GET /v1/events/e1/trace", "", mine).Code)
	require.Equal(t, 200, r.do("GET /v1/events/e2/trace", "", mine).Code)
	require.Equal(t, 404, r.do("GET /v1/events/e3/trace", "", mine).Code)
}

func TestWhatAnotherHubVouchesForNeedsNoKeyAndNothingElseDoes(t *testing.T) {
	r, p := withPeers(t)
	h := r.make1(t, keys.Request{Scope: keys.Send})
	for _, row := range r.server.routes() {
		request, body := requestOf(row, row.path, "shop")
		code := r.do(request, body, "Vouched: other").Code
		switch {
		case row.concern == heldAccount:
			require.NotEqual(t, 401, code, request)
			r.accounts = newWorld().accounts
		case row.access != anyone && row.access != onlyHubs:
			require.Equal(t, 401, code, request)
		}
	}
	var got http.Header
	status := http.StatusTeapot
	holder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got = req.Header.Clone()
		w.WriteHeader(status)
	}))
	defer holder.Close()
	p.url = holder.URL
	pass := func(headers ...string) int {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/accounts/shop/message/send", strings.NewReader(aText))
		req.Host = "127.0.0.1:3000"
		for _, one := range headers {
			name, value, _ := strings.Cut(one, ": ")
			req.Header.Set(name, value)
		}
		r.server.Handler().ServeHTTP(closeNotifier{rec}, req)
		return rec.Code
	}
	require.Equal(t, 401, pass())
	require.Nil(t, got, "it is judged where it arrives")
	require.Equal(t, http.StatusTeapot, pass(h, "X-API-Key: "+strings.TrimPrefix(h, "Authorization: Bearer ")))
	require.Equal(t, "other", got.Get("Vouched"))
	require.Empty(t, got.Get("Authorization"))
	require.Empty(t, got.Get("X-API-Key"))
	// The client's key is good: it must not be told otherwise.
	status = http.StatusUnauthorized
	require.Equal(t, 503, pass(h))
	require.Contains(t, r.logs.String(), "their clocks differ")
}

func TestTheDocumentSaysWhichScopeIsNeeded(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi)
	require.NoError(t, err)
	param := regexp.MustCompile(`:(\w+)`)
	for _, row := range newRig(t).server.routes() {
		op := doc.Paths.Find(param.ReplaceAllString(row.path, "{$1}")).GetOperation(row.method)
		want := string(row.access)
		if row.access == anyone {
			want = "none"
		}
		require.Equal(t, want, fmt.Sprint(op.Extensions["x-wildcat-scope"]), row.path)
	}
}

func FuzzPresentedKeys(f *testing.F) {
	for _, s := range []string{"Bearer wk_0123456789ab_x", "bearer  x ", "Basic dTpw", "Bearer", "Bearer ", "", " ", "BEARER\tx", strings.Repeat("Bearer ", 200)} {
		f.Add(s, "")
		f.Add("", s)
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, authorization, key string) {
		h := http.Header{}
		h.Add("Authorization", authorization)
		require.Equal(t, presented(h), presented(http.Header{"Authorization": {strings.TrimSpace(authorization)}}))
		h.Add("X-API-Key", key)
		got := presented(h)
		require.LessOrEqual(t, len(got), maxToken)
		require.Equal(t, strings.TrimSpace(got), got)
		if trimmed := strings.TrimSpace(key); trimmed != "" && len(trimmed) <= maxToken {
			require.Equal(t, trimmed, got, "X-API-Key comes first")
		}
		h.Add("X-API-Key", key)
		require.Equal(t, "-", presented(h), "two are none")
	})
}
