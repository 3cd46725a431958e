package sqlite

import (
	"context"
	"database/sql/driver"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// The schema, step by step. A step that has been released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

type migration struct {
	version int64
	name    string
	sql     string
}

// steps reads the embedded files; their names begin with their number, without gaps.
func steps() ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var out []migration
	for i, name := range names { // Glob sorts
		base := strings.TrimPrefix(name, "migrations/")
		number, _, _ := strings.Cut(base, "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v != int64(i+1) {
			return nil, fmt.Errorf("migration %s: want number %d", base, i+1)
		}
		body, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, migration{version: v, name: base, sql: string(body)})
	}
	return out, nil
}

// migrate brings the database to the newest version, each step in a transaction.
func migrate(t *tx, now time.Time) error {
	all, err := steps()
	if err != nil {
		return err
	}
	_, err = t.exec(`CREATE TABLE IF NOT EXISTS schema_version (
		version    INTEGER PRIMARY KEY,
		name       TEXT NOT NULL,
		applied_at INTEGER NOT NULL
	) STRICT`)
	if err != nil {
		return fmt.Errorf("create version table: %w", err)
	}
	var have int64
	if _, err := t.row(`SELECT coalesce(max(version), 0) FROM schema_version`, nil, &have); err != nil {
		return fmt.Errorf("read version table: %w", err)
	}
	newest := all[len(all)-1].version
	if have > newest {
		return fmt.Errorf("%w: the database has version %d, this program knows up to %d; "+
			"run the newer program, or restore the backup made before the upgrade", store.ErrNewer, have, newest)
	}
	for _, m := range all[have:] {
		err := t.immediate(func() error {
			if err := script(t.conn, m.sql); err != nil {
				return err
			}
			_, err := t.exec(`INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)`,
				m.version, m.name, ms(now))
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate to %s: %w", m.name, err)
		}
	}
	return nil
}

// script runs several statements.
func script(conn driver.Conn, sql string) error {
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("driver connection %T cannot run a script", conn)
	}
	_, err := e.ExecContext(context.Background(), sql, nil)
	return err
}
