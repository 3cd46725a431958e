package devices_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/devices/devicetest"
)

// opener opens keys in a place of the test's own, and says where if that is a file.
type opener func(t *testing.T, deps devices.Deps) (*devices.Container, string)

// onEach runs a test on every engine.
func onEach(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openFile) })
	t.Run("mongo", func(t *testing.T) {
		server(t)
		test(t, func(t *testing.T, deps devices.Deps) (*devices.Container, string) {
			return openMongo(t, connect(t, nil).Database(database(t)), deps), ""
		})
	})
}

func openFile(t *testing.T, deps devices.Deps) (*devices.Container, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a folder?#%", "devices.db")
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	c, err := devices.Open(t.Context(), path, deps)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, path
}

func openMongo(t *testing.T, db *mongo.Database, deps devices.Deps) *devices.Container {
	t.Helper()
	c, err := devices.OpenMongo(t.Context(), db, deps)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

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

// connect is a client of its own. Every command it sends is checked.
func connect(t *testing.T, started func(*event.CommandStartedEvent)) *mongo.Client {
	t.Helper()
	opts := options.Client().ApplyURI(server(t)).SetRetryWrites(false).SetMonitor(&event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			if err := devicetest.CheckCommand(e.CommandName, e.Command); err != nil {
				t.Errorf("%v\n%.2000s", err, e.Command)
			}
			if started != nil {
				started(e)
			}
		},
	})
	client, err := mongo.Connect(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Disconnect(context.Background())) })
	return client
}

// database names a database for a test, and drops it after the test.
func database(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	client, err := mongo.Connect(options.Client().ApplyURI(server(t)))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, client.Database(name).Drop(context.Background()))
		require.NoError(t, client.Disconnect(context.Background()))
	})
	return name
}

func TestConformanceOfSQLite(t *testing.T) {
	devicetest.Run(t, devicetest.Traits{}, func(t *testing.T) devicetest.Place {
		path := filepath.Join(t.TempDir(), "devices.db")
		return func(t *testing.T, deps devices.Deps) *devices.Container {
			c, err := devices.Open(t.Context(), path, deps)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			return c
		}
	})
}

func TestConformanceOfMongoDB(t *testing.T) {
	server(t)
	traits := devicetest.Traits{Counter: true, WholeState: true, Empty: true, Bulks: true, Fence: true}
	devicetest.Run(t, traits, func(t *testing.T) devicetest.Place {
		name := database(t)
		return func(t *testing.T, deps devices.Deps) *devices.Container {
			return openMongo(t, connect(t, nil).Database(name), deps)
		}
	})
}
