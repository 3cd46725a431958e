package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyHubsNudge(t *testing.T) {
	r, _ := withPeers(t)
	var got []Nudge
	r.server.deps.Nudged = func(n Nudge) { got = append(got, n) }
	want := Nudge{Lanes: []NudgeLane{{Endpoint: "wh_1", Account: "shop", Chat: "9@s.whatsapp.net"}}, More: true}
	body, err := json.Marshal(want)
	require.NoError(t, err)
	at := "POST " + NudgePath + "?" + NudgeQuery(body).Encode()
	require.Equal(t, 200, r.do(at, string(body), "Vouched: other").Code)
	require.Equal(t, []Nudge{want}, got)

	for what, request := range map[string]struct {
		at, body, vouched, code string
		status                  int
	}{
		"no hub":               {at, string(body), "", "hubs_only", http.StatusForbidden},
		"meant for another":    {at, string(body), "a third", "hub_misdirected", http.StatusServiceUnavailable},
		"another body":         {at, strings.Replace(string(body), "shop", "soap", 1), "other", "invalid_nudge", http.StatusBadRequest},
		"no hash":              {"POST " + NudgePath, string(body), "other", "invalid_nudge", http.StatusBadRequest},
		"no JSON":              {"POST " + NudgePath + "?" + NudgeQuery([]byte("{")).Encode(), "{", "other", "invalid_nudge", http.StatusBadRequest},
		"more than one may be": {at, strings.Repeat(" ", maxNudge+1), "other", "invalid_nudge", http.StatusBadRequest},
	} {
		headers := []string{}
		if request.vouched != "" {
			headers = append(headers, "Vouched: "+request.vouched)
		}
		rec := r.do(request.at, request.body, headers...)
		require.Equal(t, request.status, rec.Code, what)
		require.Contains(t, rec.Body.String(), fmt.Sprintf("%q", request.code), what)
	}
	require.Len(t, got, 1)

	// Where the database is this hub's alone there is nobody to nudge it.
	r.server.deps.Peers = nil
	require.Equal(t, http.StatusForbidden, r.do(at, string(body), "Vouched: other").Code)
	require.Len(t, got, 1)
}
