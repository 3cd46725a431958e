package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
)

// reader is the pool of connections that only read. In WAL mode they neither wait for
// the writer nor hold it up.
type reader struct {
	db *sql.DB

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // nil once closed
}

func newReader(path string, n int) (*reader, error) {
	c, err := connector(path, "query_only(1)", "cache_size(-4096)")
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return &reader{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

func (r *reader) close() error {
	r.mu.Lock()
	stmts := r.stmts
	r.stmts = nil
	r.mu.Unlock()
	for _, s := range stmts {
		_ = s.Close() // the connections are closed next, which is what counts
	}
	return r.db.Close()
}

// stmt returns a prepared statement; the set of texts is fixed by the program.
func (r *reader) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	r.mu.RLock()
	s, open := r.stmts[query], r.stmts != nil
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	if !open {
		return nil, errClosed
	}
	s, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, mapError(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stmts == nil {
		_ = s.Close()
		return nil, errClosed
	}
	if other := r.stmts[query]; other != nil {
		_ = s.Close()
		return other, nil
	}
	r.stmts[query] = s
	return s, nil
}

// row reads one row; noRows tells its error when there is none.
func (r *reader) row(ctx context.Context, query string, args []any, dest ...any) error {
	s, err := r.stmt(ctx, query)
	if err != nil {
		return err
	}
	return mapError(s.QueryRowContext(ctx, args...).Scan(dest...))
}

// each calls fn once for every row; fn scans.
func (r *reader) each(ctx context.Context, query string, args []any, fn func(scan func(...any) error) error) error {
	s, err := r.stmt(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return mapError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return mapError(rows.Err())
}
