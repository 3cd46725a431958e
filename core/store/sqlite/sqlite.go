package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/store"
)

// Config says where the database is.
type Config struct {
	// Path is the database file, relative to Dir unless absolute. "" means wildcat.db.
	Path string
	// Dir is the data folder; it is created if missing.
	Dir string
	// Readers is how many connections read side by side; 0 means 4.
	Readers int
	// ReadyLog makes the whole write-ahead log ready at the start, 32 MiB: syncing a
	// file that does not grow takes less than half the time.
	ReadyLog bool
}

// Deps is what the program passes in.
type Deps struct {
	// Logger, Now and Registerer may be nil: no log, time.Now, no metrics.
	Logger     *slog.Logger
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Store is the engine. Close it.
type Store struct {
	path    string
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
	w       *writer
	r       *reader
	names   *names
	aliases *aliasCache

	closeOnce sync.Once
	closeErr  error
}

// One line that fails to compile if the engine falls behind the seam.
var _ store.Store = (*Store)(nil)

// errClosed is what every call gets after Close.
var errClosed = errors.New("store is closed")

// Open opens the database, creating and migrating it as needed. The file is readable
// by its owner only. It fails with store.ErrNewer if a newer program wrote the
// database. The caller holds the Lock of the data folder.
func Open(ctx context.Context, cfg Config, deps Deps) (*Store, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Readers <= 0 {
		cfg.Readers = 4
	}
	path, err := prepareFile(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, now: deps.Now,
		log:     deps.Logger.With("component", "sqlite"),
		names:   newNames(),
		aliases: newAliasCache(),
	}
	conn, err := openWriterConn(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, mapError(err))
	}
	t := newTx(conn, s.names)
	if err := s.prepare(t); err != nil {
		_ = t.close()
		return nil, fmt.Errorf("open database %s: %w", path, mapError(err))
	}
	if cfg.ReadyLog {
		if err := readyLog(path + "-wal"); err != nil {
			_ = t.close()
			return nil, fmt.Errorf("open database %s: %w", path, mapError(err))
		}
	}
	s.r, err = newReader(path, cfg.Readers)
	if err != nil {
		_ = t.close()
		return nil, fmt.Errorf("open database %s: %w", path, mapError(err))
	}
	s.metrics, err = newMetrics(deps.Registerer)
	if err != nil {
		_ = s.r.close()
		_ = t.close()
		return nil, fmt.Errorf("register database metrics: %w", err)
	}
	s.w = startWriter(t, s.metrics)
	return s, nil
}

// prepareFile creates folder and file with rights for the owner only; SQLite gives its
// -wal and -shm files the rights of the database file.
func prepareFile(cfg Config) (string, error) {
	path := cfg.Path
	if path == "" {
		path = "wildcat.db"
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(cfg.Dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("database path: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("create data folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("open database: %w", err)
	}
	// A file that was copied in from a backup may be readable by others.
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return "", fmt.Errorf("restrict database file: %w", err)
	}
	return path, nil
}

// prepare migrates, voids what a dead predecessor held, and fills the caches.
func (s *Store) prepare(t *tx) error {
	if err := migrate(t, s.now()); err != nil {
		return err
	}
	err := t.immediate(func() error {
		// Whoever held a lease is dead: the lock on the data folder proves it.
		if _, err := t.exec(`UPDATE leases SET owner = '', until = 0 WHERE owner <> ''`); err != nil {
			return err
		}
		if _, err := t.exec(`DELETE FROM kv WHERE expires IS NOT NULL AND expires <= ?`, ms(s.now())); err != nil {
			return err
		}
		return sweepBlobs(t)
	})
	if err != nil {
		return err
	}
	return t.query(`SELECT n, name FROM names`, nil, func(row []any) error {
		s.names.load(row[0].(int64), row[1].(string))
		return nil
	})
}

// Ping writes one row durably.
func (s *Store) Ping(ctx context.Context) error {
	err := s.write(ctx, 0, func(t *tx) error {
		_, err := t.exec(`UPDATE health SET at = ? WHERE n = 1`, ms(s.now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Close finishes what was accepted, copies the log into the database file and
// releases it. Calls that come later fail. It may be called twice.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		// The readers go first, so that the last connection is the writer's, which
		// then copies the log and removes it.
		s.closeErr = errors.Join(s.w.drain(), s.r.close(), s.w.t.close())
		s.metrics.unregister()
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("close database: %w", s.closeErr)
		}
	})
	return s.closeErr
}

// write runs fn in the writer's transaction and returns once it is durable. size is
// about how many bytes it writes, which bounds a transaction. fn may run twice, and
// runs on the writer's goroutine: it must not call the store, and must set all its
// results anew. If ctx ends first, fn has not run and will not.
func (s *Store) write(ctx context.Context, size int, fn func(t *tx) error) error {
	return mapError(s.w.submit(ctx, size, false, fn))
}

// writePatiently is write for what nobody waits for: it may share the next fsync.
func (s *Store) writePatiently(ctx context.Context, size int, fn func(t *tx) error) error {
	return mapError(s.w.submit(ctx, size, true, fn))
}

// noRows tells database/sql's way of saying that there is no row.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
