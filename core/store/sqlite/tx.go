package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// tx runs statements on the writer's connection. Only who has seized the writer (and
// Open, before there is one) uses it.
type tx struct {
	conn  driver.Conn
	stmts map[string]stmt
	args  []driver.NamedValue
	names *names
	lanes lanes

	// dirty is set once the operation that is running has changed something.
	dirty bool
	// broken is set once a statement failed in a way after which SQLite may have
	// rolled the whole transaction back.
	broken bool
}

// stmt is what the driver's prepared statements can do.
type stmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func newTx(conn driver.Conn, n *names) *tx {
	return &tx{conn: conn, stmts: map[string]stmt{}, names: n, lanes: newLanes()}
}

func (t *tx) close() error {
	var errs []error
	for _, s := range t.stmts {
		errs = append(errs, s.Close())
	}
	t.stmts = nil
	return errors.Join(append(errs, t.conn.Close())...)
}

// prepared returns the statement, preparing it at its first use.
func (t *tx) prepared(sql string) (stmt, error) {
	if s, ok := t.stmts[sql]; ok {
		return s, nil
	}
	ds, err := t.conn.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", sql, err)
	}
	s, ok := ds.(stmt)
	if !ok {
		_ = ds.Close()
		return nil, fmt.Errorf("driver statement %T lacks contexts", ds)
	}
	t.stmts[sql] = s
	return s, nil
}

// bind reuses one slice: the driver copies the values before it returns.
func (t *tx) bind(args []any) []driver.NamedValue {
	t.args = t.args[:0]
	for i, a := range args {
		t.args = append(t.args, driver.NamedValue{Ordinal: i + 1, Value: value(a)})
	}
	return t.args
}

// exec runs a statement that writes, and returns how many rows it changed.
func (t *tx) exec(sql string, args ...any) (int64, error) {
	changed, _, err := t.run(sql, args)
	return changed, err
}

// insert runs an INSERT of one row and returns its n; false if a conflict clause left it out.
func (t *tx) insert(sql string, args ...any) (n int64, inserted bool, err error) {
	changed, n, err := t.run(sql, args)
	return n, changed > 0, err
}

func (t *tx) run(sql string, args []any) (changed, last int64, err error) {
	s, err := t.prepared(sql)
	if err != nil {
		return 0, 0, err
	}
	// No context: what the writer has begun it finishes, and a context would cost the
	// driver a goroutine for each statement.
	res, err := s.ExecContext(context.Background(), t.bind(args))
	if err != nil {
		return 0, 0, t.fail(err)
	}
	if changed, err = res.RowsAffected(); err != nil {
		return 0, 0, err
	}
	if changed > 0 {
		t.dirty = true
	}
	last, err = res.LastInsertId()
	return changed, last, err
}

// row reads at most one row into dest and tells whether there was one.
func (t *tx) row(sql string, args []any, dest ...any) (bool, error) {
	found := false
	err := t.query(sql, args, func(row []any) error {
		if found {
			return fmt.Errorf("more than one row from %q", sql)
		}
		found = true
		return scan(row, dest)
	})
	return found, err
}

// returning is row for a statement that writes and has a RETURNING clause.
func (t *tx) returning(sql string, args []any, dest ...any) (bool, error) {
	found, err := t.row(sql, args, dest...)
	if found {
		t.dirty = true
	}
	return found, err
}

// query calls each for every row. The row's slice is reused; byte slices in it are not.
func (t *tx) query(sql string, args []any, each func(row []any) error) error {
	s, err := t.prepared(sql)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), t.bind(args))
	if err != nil {
		return t.fail(err)
	}
	values := make([]driver.Value, len(rows.Columns()))
	row := make([]any, len(values))
	for {
		if err = rows.Next(values); err != nil {
			break
		}
		for i, v := range values {
			row[i] = v
		}
		if err = each(row); err != nil {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return t.fail(err)
	}
	return nil
}

// fail notes what an error means for the transaction. A violated constraint undoes its
// statement only; anything else may have undone everything.
func (t *tx) fail(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff != sqlite3.SQLITE_CONSTRAINT {
		t.broken = true
	}
	return err
}

func (t *tx) begin() error {
	t.dirty, t.broken = false, false
	_, err := t.exec(`BEGIN IMMEDIATE`)
	t.dirty = false
	return err
}

// commit makes the transaction durable. On an error the transaction is gone.
func (t *tx) commit() error {
	if _, err := t.exec(`COMMIT`); err != nil {
		t.rollback()
		return err
	}
	t.names.committed()
	return nil
}

func (t *tx) rollback() {
	// It fails if SQLite has rolled back already, which is as good.
	_, _ = t.exec(`ROLLBACK`)
	t.names.rolledBack()
	t.forget()
}

// forget drops what the writer remembers of rows; it reads them again when needed.
func (t *tx) forget() { t.lanes.forget() }

// immediate runs fn in a transaction of its own.
func (t *tx) immediate(fn func() error) error {
	if err := t.begin(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		t.rollback()
		return err
	}
	return t.commit()
}
