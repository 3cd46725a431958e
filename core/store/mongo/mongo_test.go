package mongo

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/storetest"
)

// update lets tests write the files that they compare with.
var update = flag.Bool("update", false, "write golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server returns the URI of the server to test with; without one the test is skipped, or
// fails if one has been promised.
func server(t *testing.T) string {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") != "" {
			t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
		}
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	return uri
}

// database names a database for a test, and drops it after the test.
func database(t *testing.T, uri string) string {
	t.Helper()
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	t.Cleanup(func() { require.NoError(t, Drop(context.Background(), uri, name)) })
	return name
}

func openStore(t *testing.T, cfg Config, deps Deps) *Store {
	t.Helper()
	if cfg.URI == "" {
		cfg.URI = server(t)
	}
	if cfg.Database == "" {
		cfg.Database = database(t, cfg.URI)
	}
	if deps.Monitor == nil {
		deps.Monitor = watch(t)
	}
	s, err := Open(context.Background(), cfg, deps)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// The whole suite is run, and every query that it makes has an index.
func TestConformance(t *testing.T) {
	uri := server(t)
	q := &queries{known: map[string]query{}}
	storetest.Run(t, func(t *testing.T) store.Store {
		return openStore(t, Config{}, Deps{Monitor: monitors(watch(t), q.monitor())})
	})
	t.Run("each query is served by an index", func(t *testing.T) { q.check(t, uri) })
}

func TestConformanceAfterReopening(t *testing.T) {
	uri := server(t)
	databases := map[string]string{} // by the folder that stands for it
	storetest.RunReopen(t, func(t *testing.T, dir string) store.Store {
		if databases[dir] == "" {
			databases[dir] = database(t, uri)
		}
		return openStore(t, Config{URI: uri, Database: databases[dir]}, Deps{})
	})
}

func TestTransfer(t *testing.T) {
	server(t)
	storetest.RunTransfer(t, func(t *testing.T) store.Store { return openStore(t, Config{}, Deps{}) })
}
