package app

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/egress"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
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

// startHub starts one of several hubs on a database.
func startHub(t *testing.T, cfg *config.Config) *App {
	t.Helper()
	own := *cfg
	own.Data = t.TempDir()
	a, err := New(t.Context(), &own, Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Stop()) })
	require.NoError(t, a.Start(t.Context()))
	return a
}

func ask(t *testing.T, a *App, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var out map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&out))
	return resp.StatusCode, out
}

func TestAnyHubAnswersForAnyAccount(t *testing.T) {
	cfg := mongoConfig(t)
	sim, err := simulator.New(simulator.Options{})
	require.NoError(t, err)
	require.NoError(t, sim.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	cfg.WhatsApp.URL = sim.URL()
	one, two := startHub(t, cfg), startHub(t, cfg)

	for id, hub := range map[string]*App{"a": one, "b": one, "c": two, "d": two} {
		status, _ := ask(t, hub, http.MethodPost, "/accounts", fmt.Sprintf(`{"id": %q}`, id))
		require.Equal(t, http.StatusCreated, status)
	}
	holders := func() map[string]int {
		leases, err := one.store.ListLeases(t.Context(), "account/")
		require.NoError(t, err)
		n := map[string]int{}
		for _, l := range leases {
			n[l.Owner]++
		}
		return n
	}
	require.Eventually(t, func() bool { n := holders(); return n[one.instance] == 2 && n[two.instance] == 2 }, 30*time.Second, 50*time.Millisecond)

	// What only the holder knows is the same wherever it is asked.
	for _, id := range []string{"a", "b", "c", "d"} {
		require.Eventually(t, func() bool {
			_, here := ask(t, one, http.MethodGet, "/accounts/"+id+"/status", "")
			_, there := ask(t, two, http.MethodGet, "/accounts/"+id+"/status", "")
			qr, _ := here["qr"].(string)
			return qr != "" && qr == there["qr"]
		}, 30*time.Second, 50*time.Millisecond, id)
		status, _ := ask(t, one, http.MethodPost, "/accounts/"+id+"/disconnect", "")
		require.Equal(t, http.StatusOK, status, id)
		status, _ = ask(t, two, http.MethodDelete, "/accounts/"+id, "")
		require.Equal(t, http.StatusOK, status, id)
		status, _ = ask(t, one, http.MethodGet, "/accounts/"+id, "")
		require.Equal(t, http.StatusNotFound, status, id)
	}

	// While nobody holds an account, nothing is taken for it.
	require.NoError(t, one.store.CreateAccount(t.Context(), store.Account{ID: "free", Name: "free", State: "connected", Collection: "auth_free"}))
	_, err = one.store.AcquireLease(t.Context(), "account/free", "a hub that died", time.Hour)
	require.NoError(t, err)
	status, got := ask(t, one, http.MethodPost, "/accounts/free/message/send", `{"to": "15550009", "message": "hi"}`)
	require.Equal(t, http.StatusServiceUnavailable, status, got)
	require.Contains(t, []any{"hub_unreachable", "account_moving"}, got["code"])
	_, err = one.sends.Send(t.Context(), send.Request{Account: "free", To: "15550009", Text: "hi"})
	require.ErrorIs(t, err, send.ErrElsewhere)
	list, err := one.store.ListSends(t.Context(), store.SendQuery{Account: "free"})
	require.NoError(t, err)
	require.Empty(t, list)

	// A proof of another's, or an old one, is none.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.URL()+"/accounts/a", nil)
	require.NoError(t, err)
	two.peers.Vouch(req, one.instance)
	vouched, err := one.peers.Vouched(req)
	require.NoError(t, err)
	require.True(t, vouched)
	_, err = two.peers.Vouched(req)
	require.ErrorIs(t, err, api.ErrMisdirected, "it is meant for the other")
	req.Header.Set(headerFor, two.instance)
	_, err = one.peers.Vouched(req)
	require.ErrorIs(t, err, api.ErrMisdirected)
	vouched, err = two.peers.Vouched(req)
	require.NoError(t, err)
	require.False(t, vouched, "the proof is for the other")
	req.Header.Set(headerFor, one.instance)
	req.URL.Path = "/accounts/b"
	vouched, err = one.peers.Vouched(req)
	require.NoError(t, err)
	require.False(t, vouched)

	// Webhooks made and deleted on one are in force on the other.
	endpoints := func(a *App) (ids []string) {
		for _, e := range a.registry.Entries() {
			ids = append(ids, e.ID)
		}
		return ids
	}
	status, made := ask(t, one, http.MethodPost, "/webhooks", `{"url": "http://127.0.0.1:9/hook"}`)
	require.Equal(t, http.StatusCreated, status, made)
	require.Eventually(t, func() bool { return len(endpoints(two)) == 1 }, 5*time.Second, 50*time.Millisecond)
	require.Equal(t, endpoints(one), endpoints(two))
	status, _ = ask(t, two, http.MethodDelete, "/webhooks/"+endpoints(two)[0], "")
	require.Equal(t, http.StatusOK, status)
	require.Eventually(t, func() bool { return len(endpoints(one)) == 0 }, 5*time.Second, 50*time.Millisecond)
}

func TestAHubDoesNotStartOnADatabaseThatIsMovedSinceItWasOpened(t *testing.T) {
	cfg := mongoConfig(t)
	a, err := New(t.Context(), cfg, Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Stop()) }()
	require.NoError(t, a.store.CreateAccount(t.Context(), store.Account{ID: "shop"}))
	_, err = a.store.AcquireLease(t.Context(), "migration", "a move", time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, a.Start(t.Context()), migrate.ErrInUse)
	held, err := a.store.ListLeases(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, held, 1, "the move's own")
}

func TestAnAddressThatIsAnotherHubsIsRefusedAndNamed(t *testing.T) {
	cfg := mongoConfig(t)
	sim, err := simulator.New(simulator.Options{})
	require.NoError(t, err)
	require.NoError(t, sim.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, sim.Close()) })
	cfg.WhatsApp.URL = sim.URL()
	one, two := startHub(t, cfg), startHub(t, cfg)
	third := startHub(t, cfg)
	require.NoError(t, two.peers.tell(t.Context(), third.URL()), "the mistake")
	require.NoError(t, one.store.CreateAccount(t.Context(), store.Account{ID: "a", Name: "a", State: "connected", Collection: "auth_a"}))
	_, err = one.store.AcquireLease(t.Context(), "account/a", two.instance, time.Hour)
	require.NoError(t, err)
	for range 2 {
		status, got := ask(t, one, http.MethodPost, "/accounts/a/message/send", `{"to": "15550009", "message": "hi"}`)
		require.Equal(t, http.StatusServiceUnavailable, status, got)
		require.Equal(t, "hub_misdirected", got["code"])
	}
	require.Equal(t, map[string]bool{two.instance: true}, third.peers.strayed)
}
