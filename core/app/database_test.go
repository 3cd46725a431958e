package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/egress"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

// mongoConfig is a hub's on a MongoDB database of the test's own.
func mongoConfig(t *testing.T) *config.Config {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") != "" {
			t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
		}
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Server.Port = 0
	cfg.WhatsApp.Network = config.NetworkSandbox
	cfg.Database = config.DatabaseConfig{URI: config.Secret(uri), Name: fmt.Sprintf("wildcat_test_%016x", rand.Uint64())}
	t.Cleanup(func() { require.NoError(t, mongo.Drop(context.Background(), uri, cfg.Database.Name)) })
	return cfg
}

func TestWebhooksAreKeptAwayFromTheDatabase(t *testing.T) {
	a, err := New(t.Context(), mongoConfig(t), Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.close()) }()
	u, err := url.Parse(a.cfg.Database.URI.Reveal())
	require.NoError(t, err)
	addr, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		t.Skip("the server is not named by its address")
	}
	require.ErrorIs(t, a.guard.Check(addr), egress.ErrBlocked)
	require.NoError(t, a.guard.Check(netip.AddrPortFrom(addr.Addr(), addr.Port()+1)), "loopback is open otherwise")
}
