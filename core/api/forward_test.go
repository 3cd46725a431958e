package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
)

// peerage is the other hubs, in memory.
type peerage struct {
	url     string // of the hub that holds all accounts; "": this one does, or none
	err     error
	hereErr error
	others  map[string]bool
	asked   int
	// moved names the hub that has all accounts since the first was asked for.
	moved string
}

func (p *peerage) Peer(context.Context, string) (Hub, error) {
	p.asked++
	if p.moved != "" && p.asked > 1 {
		return Hub{Instance: p.moved, URL: p.url}, p.err
	}
	return Hub{Instance: "other", URL: p.url}, p.err
}

func (p *peerage) Here(string) error {
	if p.hereErr == nil && p.url != "" {
		return ErrMoving // another does
	}
	return p.hereErr
}
func (p *peerage) Vouch(r *http.Request, instance string) { r.Header.Set("Vouched", instance) }
func (p *peerage) Vouched(r *http.Request) (bool, error) {
	if r.Header.Get("Vouched") == "a third" {
		return false, ErrMisdirected
	}
	return r.Header.Get("Vouched") != "", nil
}

func (p *peerage) Elsewhere(context.Context, string) (map[string]bool, error) {
	return p.others, p.err
}
func (p *peerage) Transport() http.RoundTripper        { return http.DefaultTransport }
func (p *peerage) Hubs(context.Context) ([]Hub, error) { return nil, p.err }

func withPeers(t *testing.T) (*rig, *peerage) {
	t.Helper()
	r, p := newRig(t), &peerage{}
	r.server.deps.Peers = p
	return r, p
}

const aText = `{"to":"15550002","message":"hi"}`

func TestSendingIsRefusedWhereTheAccountIsNotHeld(t *testing.T) {
	r, p := withPeers(t)
	require.Equal(t, 200, r.do("POST /accounts/shop/message/send", aText).Code)
	r.sent = nil
	p.hereErr = fmt.Errorf("account: %w", ErrMoving)
	for _, account := range []string{"shop", "old"} { // whatever is stored of its state
		rec := r.do("POST /accounts/"+account+"/message/send", aText)
		require.Equal(t, 503, rec.Code)
		require.Contains(t, rec.Body.String(), `"account_moving"`)
	}
	require.Equal(t, 404, r.do("POST /accounts/none/message/send", aText).Code)
	p.hereErr = fmt.Errorf("%w: since noon", store.ErrAway)
	rec := r.do("POST /accounts/shop/message/send", aText)
	require.Equal(t, 503, rec.Code)
	require.Contains(t, rec.Body.String(), `"storage_unavailable"`)
	require.Empty(t, r.sent)

	p.hereErr, r.sendErr = nil, fmt.Errorf("send: %w", send.ErrElsewhere)
	rec = r.do("POST /accounts/shop/message/send", aText)
	require.Equal(t, 503, rec.Code)
	require.Contains(t, rec.Body.String(), `"account_moving"`)
}

func TestOnlyWhatNeedsTheHolderIsPassedOn(t *testing.T) {
	r, p := withPeers(t)
	var passed []string
	holder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		passed = append(passed, req.Method+" "+req.URL.Path+" "+req.Header.Get("Vouched"))
		w.WriteHeader(http.StatusTeapot)
	}))
	defer holder.Close()
	p.url = holder.URL
	r.messages = []store.Message{message("M1")}
	// A dead holder does not keep what is in the database from anybody.
	local := []string{
		"GET /accounts/shop", "GET /accounts/shop/chats", "GET /accounts/shop/chats/9@s.whatsapp.net/messages", "GET /v1/accounts/shop/messages/M1",
	}
	for _, request := range local {
		require.Equal(t, 200, r.do(request, "").Code, request)
	}
	require.Equal(t, 404, r.do("GET /accounts/shop/messages/M1/media", "").Code)
	require.Zero(t, p.asked)
	require.Empty(t, passed)
	held := []string{
		"GET /accounts/shop/status", "POST /accounts/shop/connect", "POST /accounts/shop/disconnect", "POST /accounts/shop/logout",
		"POST /accounts/shop/message/send", "DELETE /accounts/shop", "POST /v1/accounts/shop/message/send",
	}
	for i, request := range held {
		rec := httptest.NewRecorder()
		method, path, _ := strings.Cut(request, " ")
		req := httptest.NewRequest(method, path, http.NoBody)
		req.Host = "127.0.0.1:3000"
		r.server.Handler().ServeHTTP(closeNotifier{rec}, req)
		require.Equal(t, http.StatusTeapot, rec.Code, request)
		require.Equal(t, request+" other", passed[i])
	}
	p.err = errDown
	rec := r.do("GET /accounts/shop/status", "")
	require.Equal(t, 503, rec.Code)
	require.Contains(t, rec.Body.String(), `"hub_unreachable"`)
	require.Equal(t, 200, r.do("GET /accounts/shop/status", "", "Vouched: other").Code, "it was passed on already")
}

// closeNotifier is a recorder as the reverse proxy asks for it.
type closeNotifier struct{ *httptest.ResponseRecorder }

func (closeNotifier) CloseNotify() <-chan bool { return nil }

func TestARequestThatIsMeantForAnotherHubIsRefused(t *testing.T) {
	r, _ := withPeers(t)
	rec := r.do("POST /accounts/shop/message/send", aText, "Vouched: a third")
	require.Equal(t, 503, rec.Code)
	require.Contains(t, rec.Body.String(), `"hub_misdirected"`)
	require.Empty(t, r.sent)
}

func TestAnAccountThatAnotherHubHoldsIsShownAsThere(t *testing.T) {
	r, p := withPeers(t)
	accounts := func() map[string]any {
		t.Helper()
		rec := r.do("GET /accounts", "")
		require.Equal(t, 200, rec.Code)
		var out struct{ Accounts []map[string]any }
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &out))
		shown := map[string]any{}
		for _, a := range out.Accounts {
			shown[fmt.Sprint(a["id"])] = a
			rec := r.do("GET /accounts/"+fmt.Sprint(a["id"]), "")
			var one struct{ Account map[string]any }
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &one))
			require.Equal(t, a, one.Account)
		}
		return shown
	}
	alone := accounts()
	// On a hub that holds none, they look the same.
	clear(r.live)
	p.hereErr, p.others = ErrMoving, map[string]bool{"shop": true, "new": true, "old": true, "banned": true}
	require.Equal(t, alone, accounts())
	p.others = nil // nobody holds them
	for id, a := range accounts() {
		require.Equal(t, notStarted, a.(map[string]any)["currentStatus"], id)
		require.Equal(t, false, a.(map[string]any)["hasQR"], id)
	}
	p.err = errDown
	require.Equal(t, 200, r.do("GET /accounts/shop", "").Code)
	require.Equal(t, 500, r.do("GET /accounts", "").Code)
	p.err = fmt.Errorf("%w: since noon", store.ErrAway)
	require.Equal(t, 503, r.do("GET /accounts", "").Code)
	require.Equal(t, 503, r.do("GET /v1/hubs", "").Code)
}
