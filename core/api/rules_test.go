package api

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

func TestRulesAreShownWithTheirVersion(t *testing.T) {
	r := newRig(t)
	const v1 = `"version":"0123456789ab","number":7,"since":"2026-01-31T12:00:00.005Z","hub":"h1","cause":"reload","count":2`
	require.JSONEq(t, `{"ok":true,`+v1+`,"rules":[],"behind":null,"failure":null}`, r.do("GET /v1/rules", "").Body.String())
	r.rules = []RuleStatus{{Name: "ping", File: "ping.lua", Enabled: true, State: "active", Runs: 3, Failures: 2, FailuresInARow: 2, FailingChats: 1}}
	r.rulesFailure = &RulesFailure{At: noon, Error: "ping.lua:1: no"}
	require.JSONEq(t, `{"ok":true,`+v1+`,"rules":[{"name":"ping","file":"ping.lua","enabled":true,"state":"active","runs":3,"failures":2,"failuresInARow":2,"failingChats":1}],
		"behind":null,"failure":{"at":"2026-01-31T12:00:00.005Z","version":null,"error":"ping.lua:1: no"}}`, r.do("GET /v1/rules", "").Body.String())
	require.JSONEq(t, `{"ok":true,"versions":[{`+v1+`}]}`, r.do("GET /v1/rules/versions", "").Body.String())
	r.down = true
	require.Equal(t, 500, r.do("GET /v1/rules/versions", "").Code)
	require.Equal(t, 200, r.do("GET /v1/rules", "").Code, "it asks no database")
}

func TestRulesAreReloadedAndRolledBack(t *testing.T) {
	r := newRig(t)
	rec := r.do("POST /v1/rules/reload", "")
	require.Equal(t, 200, rec.Code)
	const v1 = `"version":"0123456789ab","number":7,"since":"2026-01-31T12:00:00.005Z","hub":"h1","cause":"reload","count":2`
	require.JSONEq(t, `{"ok":true,`+v1+`,"before":"ba9876543210","changed":true,"restart":["webhooks"]}`, rec.Body.String())
	rec = r.do("POST /v1/rules/rollback", `{"version":"0123"}`)
	require.JSONEq(t, `{"ok":true,`+v1+`,"before":"0123456789ab","changed":false,"restart":[]}`, rec.Body.String())
	require.Equal(t, 200, r.do("POST /v1/rules/rollback", "").Code)
	require.Equal(t, []string{"0123", ""}, r.rolledBack)
	require.Equal(t, 400, r.do("POST /v1/rules/rollback", `{"version":12}`).Code)

	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{RuleMistakes{"a.lua:1:2: no", "b.lua: gone"}, 422, `{"ok":false,"code":"rules_invalid","error":"the rules have mistakes: the old ones stay in force","problems":["a.lua:1:2: no","b.lua: gone"]}`},
		{fmt.Errorf("x: %w", ErrRuleVersion), 404, `{"ok":false,"code":"rule_version_not_found","error":"Rule version not found"}`},
		{fmt.Errorf("x: %w", ErrRuleVersionAmbiguous), 400, `{"ok":false,"code":"rule_version_ambiguous","error":"more than one version begins like that: give more of its name"}`},
		{fmt.Errorf("x: %w", store.ErrAway), 503, `{"ok":false,"code":"storage_unavailable","error":"the database does not answer: try again in a moment"}`},
		{errors.New("mongodb://u:hunter2@db"), 500, internal},
	} {
		r.rulesErr = c.err
		for _, route := range []string{"POST /v1/rules/reload", "POST /v1/rules/rollback"} {
			rec := r.do(route, "")
			require.Equal(t, c.status, rec.Code)
			require.JSONEq(t, c.want, rec.Body.String())
		}
	}
}
