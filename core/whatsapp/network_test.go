package whatsapp

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	wastore "go.mau.fi/whatsmeow/store"

	"github.com/wildcathub/wildcat/core/store"
)

func nolog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestASandboxIsWaitedForAndReachedWhateverTheURLSays(t *testing.T) {
	key := strings.Repeat("ab", 32)
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != rootKeyPath:
			_, _ = io.WriteString(w, "here is "+r.Host)
		case asked.Add(1) < 3:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, `{"root_key":"`+key+`"}`)
		}
	}))
	defer srv.Close()
	n, err := Sandbox(t.Context(), srv.URL, nolog())
	require.NoError(t, err)
	defer n.Close()
	require.Equal(t, key, n.Name)
	require.EqualValues(t, 3, asked.Load())
	resp, err := n.HTTP.Get("https://web.whatsapp.com/anything")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "here is web.whatsapp.com", string(body))

	old, os, version := whatsmeow.WACertPubKey, wastore.DeviceProps.Os, wastore.GetWAVersion()
	wire := wastore.BaseClientPayload.UserAgent.AppVersion
	defer func() {
		whatsmeow.WACertPubKey, wastore.DeviceProps.Os = old, os
		wastore.SetWAVersion(version)
		wastore.BaseClientPayload.UserAgent.AppVersion = wire
	}()
	require.Zero(t, n.LatestVersion(t.Context(), time.Second, nolog()), "the real WhatsApp is not asked")
	n.Install(InstallConfig{DeviceName: "Wildcat", Version: [3]uint32{2, 3000, 4}})
	require.Equal(t, *n.root, whatsmeow.WACertPubKey)
	require.Equal(t, "Wildcat", wastore.DeviceProps.GetOs())
	require.EqualValues(t, 4, wastore.BaseClientPayload.GetUserAgent().GetAppVersion().GetTertiary(), "what goes over the wire")
}

func TestASandboxElsewhereOrNowhereIsRefused(t *testing.T) {
	for _, u := range []string{
		"http://192.168.1.2:4000", "http://example.com:4000", "http://0.0.0.0:4000", "https://127.0.0.1:4000",
		"127.0.0.1:4000", "http://127.0.0.1", "http://127.0.0.1:0", "http://127.0.0.1:4000/x", "http://u@127.0.0.1:1", "http://[::1%25eth0]:99999", "",
	} {
		_, err := Sandbox(t.Context(), u, nolog())
		require.Error(t, err, u)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = Sandbox(ctx, "http://"+ln.Addr().String(), nolog())
	require.ErrorContains(t, err, "root key")
}

// mapKV is the two methods of store.KV that pinning uses.
type mapKV struct {
	store.KV
	mu sync.Mutex
	m  map[string][]byte
}

func (k *mapKV) GetKV(_ context.Context, ns, key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.m[ns+"/"+key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return v, nil
}

func (k *mapKV) SwapKV(_ context.Context, ns, key string, old, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if string(k.m[ns+"/"+key]) != string(old) {
		return store.ErrStale
	}
	k.m[ns+"/"+key] = value
	return nil
}

func TestDataStaysOnItsNetwork(t *testing.T) {
	kv := &mapKV{m: map[string][]byte{}}
	box := &Network{Name: strings.Repeat("ab", 32)}
	require.NoError(t, box.Pin(t.Context(), kv))
	require.NoError(t, box.Pin(t.Context(), kv))
	err := Live().Pin(t.Context(), kv)
	require.ErrorIs(t, err, ErrOtherNetwork)
	require.ErrorContains(t, err, "the sandbox abababab")
}

func TestTheLatestVersionIsNotWaitedFor(t *testing.T) {
	n := Live()
	stop := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer srv.Close()
	defer close(stop)
	n.HTTP = sandboxClient(srv.Listener.Addr().String())
	start := time.Now()
	require.Zero(t, n.LatestVersion(t.Context(), 50*time.Millisecond, nolog()))
	require.Less(t, time.Since(start), 5*time.Second)
	n.Close()
}
