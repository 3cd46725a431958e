package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/connector"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

// told counts how often an address is written.
type told struct {
	store.KV
	n atomic.Int32
}

func (k *told) SetKV(ctx context.Context, namespace, key string, value []byte, ttl time.Duration) error {
	k.n.Add(1)
	return k.KV.SetKV(ctx, namespace, key, value, ttl)
}

func TestTheAddressOfAHubThatDiedIsForgotten(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	outbox, err := deliver.New(deliver.Config{}, deliver.Deps{Store: s, Events: s})
	require.NoError(t, err)
	registry, problems := connector.NewRegistry(connector.RegistryConfig{}, connector.RegistryDeps{Webhooks: s, Outbox: outbox})
	require.Empty(t, problems)
	kv := &told{KV: s}
	hub := func(name string) *peers {
		p := &peers{
			store: kv, registry: registry, log: slog.New(slog.DiscardHandler), instance: name, quit: make(chan struct{}),
			every: 5 * time.Millisecond, ttl: 1500 * time.Millisecond, client: &http.Transport{},
		}
		require.NoError(t, p.start(t.Context(), "http://127.0.0.1:3000"))
		return p
	}
	known := func(name string) bool {
		at, err := s.GetKV(t.Context(), peerNamespace, name)
		require.True(t, err == nil && string(at) == "http://127.0.0.1:3000" || errors.Is(err, store.ErrNotFound))
		return err == nil
	}
	lives, dies, leaves := hub("lives"), hub("dies"), hub("leaves")
	// A kill: nothing is withdrawn.
	close(dies.quit)
	dies.done.Wait()
	require.True(t, known("dies"))
	leaves.stop(t.Context())
	require.False(t, known("leaves"), "withdrawn at once")
	require.Eventually(t, func() bool { return !known("dies") }, 20*time.Second, 5*time.Millisecond)
	before := kv.n.Load()
	require.Eventually(t, func() bool { return kv.n.Load() >= before+2 && known("lives") }, 20*time.Second, 5*time.Millisecond, "it tells its address again")
	lives.stop(t.Context())
	require.False(t, known("lives"))
}
