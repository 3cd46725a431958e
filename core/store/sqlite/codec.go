package sqlite

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wildcathub/wildcat/core/store"
)

// defaultLimit is a page's length where the caller names none.
const defaultLimit = 100

func limitOr(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return n
}

// packID is an id as it is stored: derived ids (32 lower-case hex digits) as their 16
// bytes, which halves the indexes, any other as text. "" is null.
func packID(id string) any {
	if id == "" {
		return nil
	}
	if len(id) != 32 {
		return id
	}
	var b [16]byte
	for i := range b {
		hi, lo := nibble(id[2*i]), nibble(id[2*i+1])
		if hi > 15 || lo > 15 {
			return id
		}
		b[i] = hi<<4 | lo
	}
	return b[:]
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// dbID reads what packID wrote.
type dbID string

// Scan implements sql.Scanner.
func (d *dbID) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*d = ""
	case []byte:
		*d = dbID(hex.EncodeToString(v))
	case string:
		*d = dbID(v)
	default:
		return fmt.Errorf("id column holds %T", v)
	}
	return nil
}

// ms is a time as it is stored. The zero time is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMS reads what ms wrote.
func fromMS(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// dbTime reads a time column.
type dbTime struct{ time.Time }

// Scan implements sql.Scanner.
func (d *dbTime) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	d.Time = fromMS(n)
	return nil
}

// nullText makes "" null, for columns whose unique index must not see it.
func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// value turns what the program has into what the driver binds.
func value(a any) any {
	switch v := a.(type) {
	case int:
		return int64(v)
	case uint64:
		return int64(v) //nolint:gosec // sequences and epochs start at 1 and do not reach 2^63
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case store.Stage:
		return int64(v)
	}
	return a
}

// scan copies a row of the writer's connection.
func scan(row []any, dest []any) error {
	if len(row) != len(dest) {
		return fmt.Errorf("%d columns for %d variables", len(row), len(dest))
	}
	for i, d := range dest {
		var ok bool
		switch d := d.(type) {
		case *int64:
			*d, ok = row[i].(int64)
		case *uint64:
			var v int64
			v, ok = row[i].(int64)
			*d = uint64(v) //nolint:gosec // see value
		case *string:
			*d, ok = row[i].(string)
		case *[]byte:
			if ok = row[i] == nil; ok {
				*d = nil
			} else {
				*d, ok = row[i].([]byte)
			}
		case *any:
			*d, ok = row[i], true
		case interface{ Scan(any) error }:
			if err := d.Scan(row[i]); err != nil {
				return err
			}
			ok = true
		}
		if !ok {
			return fmt.Errorf("column %d: %T into %T", i, row[i], d)
		}
	}
	return nil
}

// mapError puts the seam's names on SQLite's errors.
func mapError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code()&0xff == sqlite3.SQLITE_FULL,
		// The log's index could not be grown: the same cause on its other file.
		e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE:
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return err
}

// isUnique tells that a unique index refused a row.
func isUnique(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	c := e.Code()
	return c == sqlite3.SQLITE_CONSTRAINT_UNIQUE || c == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
