package control_test

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
)

var update = flag.Bool("update", false, "write docs/sandbox.openapi.json anew")

const checkedIn = "../../../docs/sandbox.openapi.json"

func TestTheDocumentIsValidAndCheckedIn(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(control.Document())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	if *update {
		require.NoError(t, os.WriteFile(checkedIn, control.Document(), 0o644))
	}
	file, err := os.ReadFile(checkedIn)
	require.NoError(t, err)
	require.True(t, bytes.Equal(file, control.Document()), "docs/sandbox.openapi.json is out of date: make gen")
}

func TestEveryRouteOfTheDocumentIsServed(t *testing.T) {
	s := newServer(t, "")
	doc, err := openapi3.NewLoader().LoadFromData(control.Document())
	require.NoError(t, err)
	require.Greater(t, doc.Paths.Len(), 10)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if strings.HasSuffix(path, "/live") {
				continue // never ends
			}
			path := strings.NewReplacer("{number}", "15559999", "{jid}", "15559999:1@s.whatsapp.net", "{id}", "1", "{n}", "1").Replace(path)
			_, body := call(t, s, method, path, "")
			require.NotContains(t, body, `"not_found"`, "%s %s", method, path)
		}
	}
	status, body := call(t, s, "GET", "/sandbox/openapi.json", "")
	require.Equal(t, 200, status)
	require.Equal(t, string(control.Document()), body)
}

// checker sends requests to a control API and fails the test where a request or an answer
// is not what the document says.
type checker struct {
	t      testing.TB
	s      *simulator.Server
	router routers.Router
	used   map[string]bool
}

func newChecker(t testing.TB, s *simulator.Server) *checker {
	doc, err := openapi3.NewLoader().LoadFromData(control.Document())
	require.NoError(t, err)
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)
	return &checker{t: t, s: s, router: router, used: map[string]bool{}}
}

func (c *checker) do(method, path, body string) (int, string) {
	c.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	route, params, err := c.router.FindRoute(req)
	require.NoError(c.t, err, "%s %s", method, path)
	c.used[method+" "+route.Path] = true
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	status, answer := call(c.t, c.s, method, path, body)
	if status < 300 {
		require.NoError(c.t, openapi3filter.ValidateRequest(c.t.Context(), in), "%s %s %s", method, path, body)
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: http.Header{"Content-Type": {"application/json"}},
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	out.SetBodyBytes([]byte(answer))
	require.NoError(c.t, openapi3filter.ValidateResponse(c.t.Context(), out), "%s %s: %s", method, path, answer)
	return status, answer
}
