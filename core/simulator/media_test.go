package simulator_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// noise is size bytes that do not repeat, the same for the same seed.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	out := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(out)
	return out
}

// clock is a clock that a test sets forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// document is the part of a message that an upload is sent as.
func document(up whatsmeow.UploadResponse) *waE2E.DocumentMessage {
	return &waE2E.DocumentMessage{
		Mimetype: proto.String("application/pdf"), FileName: proto.String("a.pdf"),
		URL: &up.URL, DirectPath: &up.DirectPath, MediaKey: up.MediaKey,
		FileEncSHA256: up.FileEncSHA256, FileSHA256: up.FileSHA256, FileLength: &up.FileLength,
	}
}

// fetch gets a path of the media host without whatsmeow.
func fetch(t testing.TB, s *simulator.Server, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	h := s.HTTPClient()
	defer h.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://mmg.whatsapp.net"+path, nil)
	require.NoError(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

func TestAClientUploadsAndDownloadsEveryKindOfMedia(t *testing.T) {
	long(t)
	for _, dir := range []string{"", t.TempDir()} {
		s := newServer(t, dir)
		c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
		ctx := simtest.Within(t, 60*time.Second)
		for i, kind := range []whatsmeow.MediaType{
			whatsmeow.MediaImage, whatsmeow.MediaVideo, whatsmeow.MediaAudio, whatsmeow.MediaDocument, whatsmeow.MediaHistory,
			whatsmeow.MediaAppState, whatsmeow.MediaStickerPack, whatsmeow.MediaLinkThumbnail,
		} {
			plain := noise(uint64(i), 1<<(2*i)) // of a byte, and of whole blocks
			up, err := c.Upload(ctx, bytes.Clone(plain), kind)
			require.NoError(t, err, kind)
			got, err := c.DownloadMediaWithPath(ctx, up.DirectPath, up.FileEncSHA256, up.FileSHA256, up.MediaKey, len(plain), kind, "")
			require.NoError(t, err, kind)
			require.Equal(t, plain, got, kind)
		}
		up, err := c.Upload(ctx, noise(9, 5000), whatsmeow.MediaDocument)
		require.NoError(t, err)
		for _, part := range []*waE2E.DocumentMessage{document(up), document(up)} {
			got, err := c.Download(ctx, part)
			require.NoError(t, err)
			require.Equal(t, noise(9, 5000), got)
			got, err = c.DownloadAny(ctx, &waE2E.Message{DocumentMessage: part}) //nolint:staticcheck // some clients still use it
			require.NoError(t, err)
			require.Equal(t, noise(9, 5000), got)
			part.URL = nil // by host and direct path
		}
		require.Len(t, s.Media(), 9)
	}
}

func TestNewsletterMediaIsServedAsItWasUploaded(t *testing.T) {
	long(t)
	s := newServer(t, t.TempDir())
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 30*time.Second)
	plain := noise(1, 4000)
	up, err := c.UploadNewsletter(ctx, plain, whatsmeow.MediaImage)
	require.NoError(t, err)
	require.NotEmpty(t, up.Handle)
	got, err := c.Download(ctx, &waE2E.ImageMessage{URL: &up.URL, DirectPath: &up.DirectPath, FileSHA256: up.FileSHA256})
	require.NoError(t, err)
	require.Equal(t, plain, got)
	got, err = c.Download(ctx, &waE2E.ImageMessage{DirectPath: &up.DirectPath, FileSHA256: up.FileSHA256})
	require.NoError(t, err)
	require.Equal(t, plain, got)
	require.Equal(t, "newsletter-image", s.Media()[0].Type)
}

func TestTheMediaHostServesRanges(t *testing.T) {
	s := newServer(t, t.TempDir())
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	up, err := c.Upload(simtest.Within(t, 30*time.Second), noise(1, 10_000), whatsmeow.MediaVideo)
	require.NoError(t, err)
	resp, whole := fetch(t, s, up.DirectPath)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, up.FileEncSHA256, sum(whole))
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), "the control API is of the same origin")
	resp, part := fetch(t, s, up.DirectPath, "Range", "bytes=100-299")
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, fmt.Sprintf("bytes 100-299/%d", len(whole)), resp.Header.Get("Content-Range"))
	require.Equal(t, whole[100:300], part)
	resp, part = fetch(t, s, up.DirectPath, "Range", "bytes=-26", "If-Range", resp.Header.Get("ETag"))
	require.Equal(t, http.StatusPartialContent, resp.StatusCode)
	require.Equal(t, whole[len(whole)-26:], part)
	resp, _ = fetch(t, s, up.DirectPath, "Range", "bytes=1000000-")
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, resp.StatusCode)
}

func sum(data []byte) []byte {
	h := sha256.Sum256(data)
	return h[:]
}

func TestAPathIsServedOnlyAsItWasHandedOut(t *testing.T) {
	clock := new(clock)
	s := simtest.Serve(t, simulator.Options{Dir: t.TempDir(), Clock: clock.now, MediaTTL: time.Hour})
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 30*time.Second)
	up, err := c.Upload(ctx, noise(1, 100), whatsmeow.MediaImage)
	require.NoError(t, err)
	other, err := c.Upload(ctx, noise(2, 100), whatsmeow.MediaImage)
	require.NoError(t, err)
	path, _, _ := strings.Cut(up.DirectPath, "?")
	_, query, _ := strings.Cut(other.DirectPath, "?")
	for _, tc := range []struct {
		why, path string
		status    int
	}{
		{"as it is", up.DirectPath, http.StatusOK},
		{"with what a client adds", up.DirectPath + "&hash=" + base64.URLEncoding.EncodeToString(up.FileEncSHA256) + "&mms-type=image&__wa-mms=", http.StatusOK},
		{"another hash", up.DirectPath + "&hash=" + base64.URLEncoding.EncodeToString(other.FileEncSHA256), http.StatusNotFound},
		{"not signed", path, http.StatusForbidden},
		{"the signature of another", path + "?" + query, http.StatusForbidden},
		{"another path", "/v/t62.7118-24/..%2fsandbox.journal?" + query, http.StatusForbidden},
	} {
		resp, _ := fetch(t, s, tc.path)
		require.Equal(t, tc.status, resp.StatusCode, tc.why)
	}

	require.NoError(t, s.DeleteMedia(s.Media()[0].ID))
	require.Len(t, s.Media(), 1)
	require.ErrorIs(t, s.DeleteMedia("no such id"), simulator.ErrUnknownMedia)
	gone, kept := up, other
	if resp, _ := fetch(t, s, up.DirectPath); resp.StatusCode == http.StatusOK { // both are of the same second
		gone, kept = other, up
	}
	_, err = c.Download(ctx, document(gone))
	require.ErrorIs(t, err, whatsmeow.ErrMediaDownloadFailedWith404)
	resp, _ := fetch(t, s, kept.DirectPath)
	require.Equal(t, http.StatusOK, resp.StatusCode)

	clock.advance(time.Hour)
	_, err = c.Download(ctx, document(kept))
	require.ErrorIs(t, err, whatsmeow.ErrMediaDownloadFailedWith410)
	require.Empty(t, s.Media())
	_, err = c.Upload(ctx, noise(3, 100), whatsmeow.MediaImage)
	require.NoError(t, err)
	require.Len(t, s.Media(), 1, "an upload sweeps what has expired")
}

// mediaConn is what the client learns of the media host, asked anew.
func (c *client) mediaConn() (*whatsmeow.MediaConn, error) {
	return c.DangerousInternals().RefreshMediaConn(simtest.Within(c.t, 30*time.Second), true) //nolint:staticcheck // nothing else tells the auth
}

// upload posts a body as whatsmeow does, with what mangle makes of the request.
func upload(t testing.TB, s *simulator.Server, auth string, body []byte, mangle func(*http.Request)) int {
	t.Helper()
	token := base64.URLEncoding.EncodeToString(sum(body))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"https://mmg.whatsapp.net/mms/image/"+token+"?auth="+auth+"&token="+token, bytes.NewReader(body))
	require.NoError(t, err)
	mangle(req)
	h := s.HTTPClient()
	defer h.CloseIdleConnections()
	resp, err := h.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, json.Valid(raw))
	return resp.StatusCode
}

func TestAnUploadThatIsNotWhatItSaysIsRefused(t *testing.T) {
	dir := t.TempDir()
	clock := new(clock)
	s := simtest.Serve(t, simulator.Options{Dir: dir, MediaLimit: 10_000, Clock: clock.now})
	c, d := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	conn, err := c.mediaConn()
	require.NoError(t, err)
	require.Len(t, conn.Hosts, 2)
	edit := func(f func(q map[string][]string)) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			f(q)
			r.URL.RawQuery = q.Encode()
		}
	}
	other := base64.URLEncoding.EncodeToString(sum([]byte("another")))
	for _, tc := range []struct {
		why    string
		status int
		size   int
		mangle func(*http.Request)
	}{
		{"as it should be", 200, 5000, func(*http.Request) {}},
		{"no auth", 401, 100, edit(func(q map[string][]string) { delete(q, "auth") })},
		{"another auth", 401, 100, edit(func(q map[string][]string) { q["auth"][0] = "A" + q["auth"][0][1:] })},
		{"token of another file", 400, 100, func(r *http.Request) {
			r.URL.Path = "/mms/image/" + other
			edit(func(q map[string][]string) { q["token"] = []string{other} })(r)
		}},
		{"two tokens", 400, 100, edit(func(q map[string][]string) { q["token"] = []string{other} })},
		{"token that is no hash", 400, 100, func(r *http.Request) {
			r.URL.Path = "/mms/image/abcd"
			edit(func(q map[string][]string) { q["token"] = []string{"abcd"} })(r)
		}},
		{"unknown type", 400, 100, func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "image", "music", 1) }},
		{"newsletter's type elsewhere", 400, 100, func(r *http.Request) {
			r.URL.Path = strings.Replace(r.URL.Path, "image", "newsletter-image", 1)
		}},
		{"the largest", 200, 10_000, func(*http.Request) {}},
		{"too large", 413, 10_001, func(*http.Request) {}},
		{"too large, and does not say so", 413, 10_001, func(r *http.Request) {
			r.ContentLength = -1
			r.Body = io.NopCloser(io.MultiReader(r.Body))
		}},
	} {
		require.Equal(t, tc.status, upload(t, s, conn.Auth, noise(7, tc.size), tc.mangle), tc.why)
	}
	require.Len(t, s.Media(), 2)
	entries, err := os.ReadDir(filepath.Join(dir, "media"))
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left of what was refused")

	clock.advance(6 * time.Hour)
	require.Equal(t, 401, upload(t, s, conn.Auth, noise(7, 10), func(*http.Request) {}), "auth has expired")
	conn, err = c.mediaConn()
	require.NoError(t, err)
	require.Equal(t, 200, upload(t, s, conn.Auth, noise(7, 10), func(*http.Request) {}))
	require.NoError(t, d.Unlink())
	require.Equal(t, 401, upload(t, s, conn.Auth, noise(7, 10), func(*http.Request) {}), "the device was unlinked")
}
