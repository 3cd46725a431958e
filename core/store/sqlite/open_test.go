package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	soon  = 5 * time.Second
	often = time.Millisecond
)

func TestASecondProcessIsRefused(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		_, err := Lock(dir)
		fmt.Println(errors.Is(err, store.ErrLocked), err)
		return
	}
	dir := filepath.Join(t.TempDir(), "new", "data")
	release, err := Lock(dir)
	require.NoError(t, err)
	out, err := child(t, t.Context(), dir, t.Name()).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "true data in use by another process")
	require.Contains(t, string(out), dir)
	if runtime.GOOS != "windows" {
		require.Contains(t, string(out), fmt.Sprintf("by process %d;", os.Getpid()))
	}
	_, err = Lock(dir)
	require.ErrorIs(t, err, store.ErrLocked, "not twice in one process either")
	require.NoError(t, release())
	require.NoError(t, release())
	release, err = Lock(dir)
	require.NoError(t, err)
	require.NoError(t, release())
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such rights on Windows")
	}
	dir := filepath.Join(t.TempDir(), "data")
	release, err := Lock(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, release()) }()
	s := openStore(t, dir)
	require.NoError(t, s.Ping(t.Context()))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 4) // lock, database, log, its index
	for _, f := range files {
		info, err := f.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f.Name())
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	require.NoError(t, s.write(t.Context(), 0, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO schema_version (version, name, applied_at) VALUES (1000, 'from the future', 0)`)
		return err
	}))
	require.NoError(t, s.Close())
	_, err := Open(t.Context(), Config{Dir: dir}, Deps{})
	require.ErrorIs(t, err, store.ErrNewer)
	require.ErrorContains(t, err, "version 1000")
	require.ErrorContains(t, err, "wildcat.db")
}

func TestAnOlderDatabaseIsBroughtUpToDateWithWhatIsInIt(t *testing.T) {
	all, err := steps()
	require.NoError(t, err)
	require.Len(t, all, 3, "the steps that this test takes back")
	dir := t.TempDir()
	s := openStore(t, dir)
	ev := testEvent(1, "c")
	appended, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 1})
	require.NoError(t, err)
	require.NoError(t, s.Settle(t.Context(), benchSettlement(ev, appended.Seq)))
	deliveries := func() []store.Delivery {
		t.Helper()
		got, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{EventID: ev.ID, Limit: 10})
		require.NoError(t, err)
		require.Len(t, got, 1)
		return got
	}
	want := deliveries()
	require.NoError(t, s.write(t.Context(), 0, func(tx *tx) error {
		for _, back := range []string{
			`DROP INDEX sends_odd`, `ALTER TABLE deliveries ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0`, `DELETE FROM schema_version WHERE version > 1`,
		} {
			if _, err := tx.exec(back); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, s.Close())
	s = openStore(t, dir)
	require.Equal(t, want, deliveries())
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.db"), []byte(strings.Repeat("no database ", 1000)), 0o600))
	_, err := Open(t.Context(), Config{Dir: dir, Path: "x.db"}, Deps{})
	require.ErrorContains(t, err, "not a database")
}

func TestReopeningVoidsLeases(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	first, err := s.AcquireLease(t.Context(), "acc", "boot 1", time.Hour)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	s = openStore(t, dir)
	second, err := s.AcquireLease(t.Context(), "acc", "boot 2", time.Hour)
	require.NoError(t, err)
	require.Equal(t, first.Epoch+1, second.Epoch)
	_, err = s.RenewLease(t.Context(), first, time.Hour)
	require.ErrorIs(t, err, store.ErrStale)
}

func TestBodiesWithoutAnEventAreSwept(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	ev := testEvent(1, "c")
	ev.Message.Text = strings.Repeat("x", maxInlineBody+1)
	_, err := s.AppendEvent(t.Context(), store.Append{Event: ev})
	require.NoError(t, err)
	_, err = s.putBody(t.Context(), testEvent(2, "c"), []byte("left by a crash"))
	require.NoError(t, err)
	count := func() (n int64) {
		require.NoError(t, s.r.row(t.Context(), `SELECT count(*) FROM blobs`, nil, &n))
		return n
	}
	require.EqualValues(t, 2, count())
	require.NoError(t, s.Close())
	s = openStore(t, dir)
	require.EqualValues(t, 1, count())
	got, err := s.Event(t.Context(), ev.ID)
	require.NoError(t, err)
	require.Equal(t, ev.Message.Text, got.Event.Message.Text)
}

// TestQueriesUseTheirIndexes asks SQLite how it would answer what runs often or grows
// with the data.
func TestQueriesUseTheirIndexes(t *testing.T) {
	s := openStore(t, t.TempDir())
	for query, want := range map[string]string{
		`SELECT account_n, chat FROM chats WHERE done < seq AND n > ? ORDER BY n LIMIT ?`: "chats_unfinished",
		selectEvent + `WHERE e.id = ?`:                                                                                    "SEARCH e USING INDEX sqlite_autoindex_events",
		selectEvent + `WHERE e.account_n = ?3 AND e.n > ?1 ORDER BY e.n LIMIT ?2`:                                         "SEARCH e USING INDEX events_account",
		selectMessage + `WHERE m.account_n = ? ORDER BY m.time DESC, m.n DESC LIMIT ? OFFSET ?`:                           "SEARCH m USING INDEX messages_account",
		selectMessage + `WHERE m.chat_n = ? ORDER BY m.time DESC, m.n DESC LIMIT ? OFFSET ?`:                              "SEARCH m USING INDEX messages_chat",
		selectMessage + `WHERE 1 ORDER BY m.time DESC, m.n DESC LIMIT ? OFFSET ?`:                                         "SCAN m USING INDEX messages_time",
		`SELECT id FROM sends WHERE n > ? AND account_n = ? AND state = ? AND state < 2 ORDER BY n LIMIT ?`:               "sends_open",
		`SELECT id FROM sends WHERE n > ? AND account_n = ? AND state = ? AND state > 2 ORDER BY n LIMIT ?`:               "sends_odd",
		`SELECT coalesce(max(seq), 0) FROM deliveries WHERE endpoint_n = ? AND chat_n = ?`:                                "USING COVERING INDEX deliveries_lane",
		`SELECT min(chat_n) FROM deliveries WHERE endpoint_n = ?1 AND state = 0 AND chat_n > ?2`:                          "USING COVERING INDEX deliveries_queued",
		`SELECT n FROM deliveries d WHERE d.endpoint_n = ? AND d.state = 0 AND d.chat_n = ? AND d.seq > ? ORDER BY d.seq`: "deliveries_queued",
		`SELECT min(endpoint_n) FROM deliveries WHERE state = 0 AND endpoint_n > ?`:                                       "COVERING INDEX deliveries_queued",
		`SELECT min(endpoint_n) FROM deliveries WHERE state > 1 AND endpoint_n > ?`:                                       "COVERING INDEX deliveries_odd",
		waitingEndpoints: "USING COVERING INDEX deliveries_odd (endpoint_n=? AND state=?)",
		`SELECT n FROM deliveries WHERE endpoint_n = ? AND state = 3 AND state > 1 LIMIT 9`:                           "deliveries_odd",
		`SELECT count(*) FROM deliveries WHERE endpoint_n = ?1`:                                                       "COVERING INDEX deliveries_endpoint",
		`SELECT n FROM blobs b WHERE b.internal = 1 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.body_blob = b.id)`: "events_body",
	} {
		var plan []string
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = 7
		}
		rows, err := s.r.db.QueryContext(context.Background(), "EXPLAIN QUERY PLAN "+query, args...)
		require.NoError(t, err, query)
		for rows.Next() {
			var a, b, c int
			var line string
			require.NoError(t, rows.Scan(&a, &b, &c, &line))
			plan = append(plan, line)
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close())
		all := strings.Join(plan, "\n")
		require.Contains(t, all, want, query)
		require.NotContains(t, all, "TEMP B-TREE", query)
	}
}
