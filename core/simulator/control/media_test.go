package control_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheControlAPISendsAndHandsOutFiles(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	ann, _ := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c := simtest.NewClient(t, s)
	c.Pair(ann)
	data := base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 tiny"))
	status, body := api.do("POST", "/sandbox/phones/15550002/send", `{"to":"15550001","media":{"kind":"document","data":"`+data+`","name":"a \"b\".pdf","mime":"application/pdf","caption":"the bill"}}`)
	require.Equal(t, 200, status, body)
	m := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Info.ID == idOf(t, body) })
	plain, err := c.Download(t.Context(), m.Message.GetDocumentWithCaptionMessage().GetMessage().GetDocumentMessage())
	if err != nil { // whether it is wrapped is up to the phone
		plain, err = c.Download(t.Context(), m.Message.GetDocumentMessage())
	}
	require.NoError(t, err)
	require.Equal(t, "%PDF-1.4 tiny", string(plain))
	page := `<html><script>alert(1)</script></html>`
	status, body = call(t, s, "POST", "/sandbox/phones/15550002/upload?to=15550001&kind=document&mime=text/html&name=page.html", page)
	require.Equal(t, 200, status, body)
	_, err = ann.WaitReceived(simtest.Within(t, 10*time.Second), 2)
	require.NoError(t, err)

	for path, want := range map[string]string{
		"/media/1": "%PDF-1.4 tiny", "/media/2": page,
		"/file?" + url.Values{"chat": {"15550002"}, "id": {idOf(t, body)}}.Encode(): page,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/sandbox/phones/15550001"+path, nil)
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, string(got), path)
		// A page that somebody sent must not run beside the control API.
		require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment"))
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "sandbox")
	}

	status, body = api.do("GET", "/sandbox/media", "")
	require.Equal(t, 200, status)
	var list struct{ Media []struct{ ID string } }
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	require.GreaterOrEqual(t, len(list.Media), 2) // the history that a new companion gets is there, too
	for _, m := range list.Media {
		status, _ = api.do("DELETE", "/sandbox/media/"+m.ID, "")
		require.Equal(t, 200, status)
	}
	status, _ = api.do("POST", "/sandbox/phones/15550001/forget-media", `{"chat":"15550002","id":"`+m.Info.ID+`"}`)
	require.Equal(t, 200, status)
	status, _ = api.do("POST", "/sandbox/phones/15550001/media-retries", `{"answer":"silent"}`)
	require.Equal(t, 200, status)

	for _, r := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/sandbox/phones/15550001/media/1", ``, 404, "unknown_media"},
		{"GET", "/sandbox/phones/15550001/media/9", ``, 404, "unknown_message"},
		{"GET", "/sandbox/phones/15550001/media/x", ``, 400, "bad_number"},
		{"DELETE", "/sandbox/media/none", ``, 404, "unknown_media"},
		{"POST", "/sandbox/phones/15550001/upload?to=15550002&kind=smell", `x`, 400, "bad_media"},
		{"POST", "/sandbox/phones/15550001/media-retries", `{"answer":"shout"}`, 400, "bad_media"},
	} {
		status, body := call(t, s, r.method, r.path, r.body)
		require.Equal(t, r.status, status, body)
		require.Contains(t, body, r.code)
	}
}
