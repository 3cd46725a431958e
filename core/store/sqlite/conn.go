package sqlite

import (
	"context"
	"database/sql/driver"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"modernc.org/sqlite"
)

// busyMillis is how long a statement waits for a lock. Within the program there is
// nothing to wait for; a person's sqlite3 shell on the file is.
const busyMillis = "10000"

// dsn spells the connection: busy_timeout comes first, so that what follows already
// waits for locks.
func dsn(path string, pragmas ...string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // file:///C:/…
	}
	q := url.Values{"_txlock": {"immediate"}}
	all := append([]string{
		"busy_timeout(" + busyMillis + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"temp_store(MEMORY)",
	}, pragmas...)
	for _, p := range all {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", Path: slashed, RawQuery: q.Encode()}
	return u.String()
}

// connector opens connections to the database file; cache is in KiB.
func connector(path string, pragmas ...string) (driver.Connector, error) {
	return sqlite.NewConnector(dsn(path, pragmas...))
}

// openWriterConn opens the one connection that writes. It stays outside of
// database/sql: there is nothing to pool, and its bookkeeping costs as much as a
// small statement.
func openWriterConn(ctx context.Context, path string) (driver.Conn, error) {
	c, err := connector(path, "wal_autocheckpoint("+strconv.Itoa(logPages)+")", "cache_size(-8192)")
	if err != nil {
		return nil, err
	}
	return c.Connect(ctx)
}
