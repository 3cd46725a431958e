package api

import (
	"context"
	"fmt"
	"net/http"
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
	asked   int
}

func (p *peerage) Peer(context.Context, string) (string, error) { p.asked++; return p.url, p.err }
func (p *peerage) Here(string) error                            { return p.hereErr }
func (p *peerage) Vouch(r *http.Request)                        { r.Header.Set("Vouched", "yes") }
func (p *peerage) Vouched(r *http.Request) bool                 { return r.Header.Get("Vouched") != "" }
func (p *peerage) Transport() http.RoundTripper                 { return http.DefaultTransport }
func (p *peerage) Hubs(context.Context) ([]Hub, error)          { return nil, p.err }

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
