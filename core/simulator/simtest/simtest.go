// Package simtest holds what the tests of the simulator and of its control share: servers
// that are checked when they close, and an unmodified client that waits for its events.
package simtest

import (
	"database/sql"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite" // the driver named "sqlite"

	"go.mau.fi/whatsmeow/store/sqlstore"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Run runs the tests of a package and looks for goroutines that they left. Three of
// whatsmeow's are excused: a client that disconnects while a frame waits for its handler keeps
// the one that read it, a client that was sent history keeps one for good, and one that was
// handed a key asks for the app state under no context of the client's, and waits over a minute.
func Run(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreTopFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).handleAppStateSyncKeyShare"))
}

// Root is shared by all servers of a test process: what whatsmeow trusts is the process's.
func Root() *[32]byte { return &[32]byte{8: 7, 31: 64} }

// Serve starts a server; its invariants are checked when the test ends. A root is set.
func Serve(t testing.TB, opts simulator.Options) *simulator.Server {
	t.Helper()
	opts.Root = Root()
	s, err := simulator.New(opts)
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Verify(t)
	})
	return s
}

// AddPhone adds a phone with a name that is made of its number.
func AddPhone(t testing.TB, s *simulator.Server, number string) *simulator.Phone {
	t.Helper()
	p, err := s.AddPhone(number, "Name of "+number)
	require.NoError(t, err)
	return p
}

// OpenKeys opens whatsmeow's own store in a file. The test's folder is removed once nobody
// writes to the file any more: a client that is gone may still have a query under way.
func OpenKeys(t testing.TB, path string) *sqlstore.Container {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=foreign_keys(1)&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate")
	require.NoError(t, err)
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); db.Stats().OpenConnections > 0 && time.Now().Before(end); {
			runtime.Gosched()
		}
	})
	c := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	require.NoError(t, c.Upgrade(t.Context()))
	return c
}
