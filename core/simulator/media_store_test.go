package simulator_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestOneFileServesEqualUploadsUntilTheLastIsDeleted(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir)
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 30*time.Second)
	plain := noise(1, 100_000)
	var wg sync.WaitGroup
	paths := make(chan string, 8)
	for range cap(paths) {
		wg.Go(func() {
			if up, err := c.UploadNewsletter(ctx, plain, whatsmeow.MediaVideo); err == nil {
				paths <- up.DirectPath
			}
		})
	}
	wg.Wait()
	require.Len(t, paths, cap(paths))
	close(paths)
	for path := range paths {
		_, got := fetch(t, s, path)
		require.Equal(t, plain, got)
	}
	for i, m := range s.Media() {
		entries, err := os.ReadDir(filepath.Join(dir, "media"))
		require.NoError(t, err)
		require.Len(t, entries, 1, i)
		require.NoError(t, s.DeleteMedia(m.ID))
	}
	entries, err := os.ReadDir(filepath.Join(dir, "media"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestAFileOf64MiBTakesLittleMemory(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s := newServer(t, dir)
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 120*time.Second)
	const size = 64 << 20
	source := filepath.Join(t.TempDir(), "source")
	file, err := os.Create(source)
	require.NoError(t, err)
	defer file.Close()
	_, err = io.Copy(file, io.LimitReader(rand.NewChaCha8([32]byte{5}), size))
	require.NoError(t, err)
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	target, err := os.Create(filepath.Join(t.TempDir(), "target"))
	require.NoError(t, err)
	defer target.Close()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	up, err := c.UploadReader(ctx, file, nil, whatsmeow.MediaDocument)
	require.NoError(t, err)
	require.NoError(t, c.DownloadToFile(ctx, document(up), target)) // it compares the hashes
	runtime.ReadMemStats(&after)
	require.EqualValues(t, size, up.FileLength)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "client and host together, garbage included")
}

func TestWhatAKillLeftBehindOfUploadsIsRemovedAtStart(t *testing.T) {
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 30*time.Second)
	up, err := c.Upload(ctx, noise(1, 1000), whatsmeow.MediaImage)
	require.NoError(t, err)
	lost, err := c.Upload(ctx, noise(2, 1000), whatsmeow.MediaImage)
	require.NoError(t, err)
	c.Disconnect()
	require.NoError(t, s.Close())
	media := filepath.Join(dir, "media")
	for _, name := range []string{"part-123", strings.Repeat("ab", 32)} { // cut off, and complete but never answered
		require.NoError(t, os.WriteFile(filepath.Join(media, name), []byte("x"), 0o600))
	}
	require.NoError(t, os.Truncate(filepath.Join(media, fmt.Sprintf("%x", lost.FileEncSHA256)), 10)) // by a loss of power

	again := newServer(t, dir)
	entries, err := os.ReadDir(media)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	resp, body := fetch(t, again, up.DirectPath)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, up.FileEncSHA256, sum(body))
	resp, _ = fetch(t, again, lost.DirectPath)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	c.s = again
	c.renew(false)
	require.NoError(t, c.Connect())
}

func TestEqualFilesMayBeUploadedServedAndDeletedAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir)
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	ctx := simtest.Within(t, 60*time.Second)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for round := range 20 {
				plain := noise(uint64(round%2), 3000)
				up, err := c.UploadNewsletter(ctx, plain, whatsmeow.MediaImage)
				if !assert.NoError(t, err) {
					return
				}
				got, err := c.Download(ctx, &waE2E.ImageMessage{URL: &up.URL, FileSHA256: up.FileSHA256})
				assert.NoError(t, err)
				assert.Equal(t, plain, got, "worker %d", i)
				assert.NoError(t, s.DeleteMedia(up.ObjectID))
				_, err = c.Download(ctx, &waE2E.ImageMessage{URL: &up.URL, FileSHA256: up.FileSHA256})
				assert.ErrorIs(t, err, whatsmeow.ErrMediaDownloadFailedWith404)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(dir, "media"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestCloseCutsOffAnUploadAndLeavesNothingOfIt(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	c, _ := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	conn, err := c.mediaConn()
	require.NoError(t, err)
	body, feed := io.Pipe()
	token := strings.Repeat("A", 43) + "="
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"https://mmg.whatsapp.net/mms/image/"+token+"?auth="+conn.Auth+"&token="+token, body)
	require.NoError(t, err)
	h := s.HTTPClient()
	defer h.CloseIdleConnections()
	answered := make(chan error, 1)
	go func() {
		resp, err := h.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	_, err = feed.Write(noise(1, 100_000))
	require.NoError(t, err)
	media := filepath.Join(dir, "media")
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(media)
		return err == nil && len(entries) == 1
	}, 20*time.Second, time.Millisecond, "the upload is under way")
	require.NoError(t, s.Close())
	require.NoError(t, feed.Close())
	require.Error(t, <-answered)
	entries, err := os.ReadDir(media)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestWhatCannotBeSentIsTakenOffTheMediaHost(t *testing.T) {
	s := simtest.Serve(t, simulator.Options{MediaLimit: 2000})
	p := simtest.AddPhone(t, s, "15550001")
	simtest.AddPhone(t, s, "15550002")
	picture := simulator.Media{Kind: simulator.KindImage, Data: noise(1, 1000)}
	nobody := simulator.SendOptions{Mentions: []string{"15550003"}}
	_, err := p.SendMedia(t.Context(), "15550002", picture, nobody)
	require.ErrorIs(t, err, simulator.ErrUnknownNumber)
	link := simulator.LinkPreview{URL: "https://example.com", Thumbnail: noise(2, 10)}
	_, err = p.SendLink(t.Context(), "15550002", "https://example.com", link, nobody)
	require.ErrorIs(t, err, simulator.ErrUnknownNumber)
	picture.Data = noise(1, 2000)
	_, err = p.SendMedia(t.Context(), "15550002", picture, simulator.SendOptions{})
	require.ErrorIs(t, err, simulator.ErrMedia, "too large")
	require.Empty(t, s.Media())
}
