package page_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// fetch is a request as a browser makes it, without following redirects.
func fetch(t testing.TB, method, url string, form url.Values, head map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range head {
		req.Header.Set(name, value)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(body)
}

var elsewhere = regexp.MustCompile(`(?:src|href|action)="(?:[a-z]+:|//)`)

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func TestAFormCountsOnlyFromThePageItself(t *testing.T) {
	s := newServer(t)
	_, body := fetch(t, "GET", s.URL()+"/sandbox/", nil, nil)
	token := tokenField.FindStringSubmatch(body)[1]
	form := func(token string) url.Values {
		return url.Values{"number": {"15550001"}, "name": {"Ann"}, "token": {token}}
	}
	for name, c := range map[string]struct {
		token string
		head  map[string]string
	}{
		"no token":             {"", nil},
		"another token":        {"x", nil},
		"from another site":    {token, map[string]string{"Sec-Fetch-Site": "cross-site"}},
		"from a sandboxed one": {token, map[string]string{"Origin": "null"}},
		"from another port":    {token, map[string]string{"Origin": "http://127.0.0.1:1"}},
	} {
		resp, _ := fetch(t, "POST", s.URL()+"/sandbox/ui/phones", form(c.token), c.head)
		require.Equal(t, http.StatusForbidden, resp.StatusCode, name)
		require.Empty(t, s.Phones(), name)
	}
	resp, _ := fetch(t, "POST", s.URL()+"/sandbox/ui/phones", form(token), map[string]string{"Origin": s.URL(), "Sec-Fetch-Site": "same-origin"})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Equal(t, "/sandbox/ui/phones/15550001", resp.Header.Get("Location"))
	require.Len(t, s.Phones(), 1)
}

func TestThePageLoadsNothingButItselfAndShowsTextAsText(t *testing.T) {
	s := newServer(t)
	ann := addPhone(t, s, "15550001", hostile)
	ben := addPhone(t, s, "15550002", "Ben")
	id, err := ben.SendText(t.Context(), "15550001", hostile)
	require.NoError(t, err)
	_, err = ann.WaitReceived(simtest.Within(t, 30*time.Second), 1)
	require.NoError(t, err)
	_, err = ann.React(t.Context(), "15550002", id, hostile)
	require.NoError(t, err)
	_, err = ann.SendPoll(t.Context(), "15550002", hostile, []string{hostile, "b"}, 1, simulator.SendOptions{})
	require.NoError(t, err)
	_, err = ann.SendContacts(t.Context(), "15550002", []simulator.Contact{{Name: hostile, VCard: hostile}}, simulator.SendOptions{})
	require.NoError(t, err)
	_, err = ann.SendLocation(t.Context(), "15550002", simulator.Location{Name: hostile, Address: hostile}, simulator.SendOptions{})
	require.NoError(t, err)
	_, err = ann.SendMedia(t.Context(), "15550002", simulator.Media{Kind: simulator.KindDocument, Data: []byte("x"), Name: hostile, MIME: "text/html"}, simulator.SendOptions{})
	require.NoError(t, err)
	_, err = ann.CreateGroup(t.Context(), hostile, "15550002")
	require.NoError(t, err)
	for _, path := range []string{
		"/sandbox/", "/sandbox/ui/phones/15550001", "/sandbox/ui/phones/15550001?chat=15550002&reply=" + id,
		"/sandbox/ui/phones/15550001?problem=" + url.QueryEscape(hostile),
		"/sandbox/ui/phones/15550001?chat=" + url.QueryEscape(s.Groups()[0].JID),
	} {
		resp, body := fetch(t, "GET", s.URL()+path, nil, nil)
		require.Equal(t, 200, resp.StatusCode, path)
		require.NotContains(t, body, "<script>", path)
		require.NotContains(t, body, "<img src=x", path)
		require.Contains(t, body, "&lt;script&gt;", path)
		policy := resp.Header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.NotRegexp(t, elsewhere, body, path)
	}
	resp, _ := fetch(t, "GET", s.URL()+"/sandbox/ui/phones/15559999", nil, nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	for _, file := range []string{"style.css", "page.js", "icon.svg"} {
		resp, _ := fetch(t, "GET", s.URL()+"/sandbox/ui/static/"+file, nil, nil)
		require.Equal(t, 200, resp.StatusCode, file)
	}
}
