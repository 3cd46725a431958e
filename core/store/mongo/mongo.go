package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// Config says where the database is.
type Config struct {
	// URI is mongodb://… or mongodb+srv://…. A database in its path is where the user
	// is known (authSource), not where the data goes.
	URI string
	// Database is the database's name.
	Database string
	// Instance names this hub for as long as its data folder lives. Whoever opens the
	// store under it proves that the predecessor of this name is dead, so that leases
	// which that one held are free at once. "" frees none.
	Instance string
	// Existing refuses a database that is not there yet, instead of making it.
	Existing bool
}

// Deps is what the program passes in. All of it may be nil.
type Deps struct {
	// Logger, Now and Registerer: no log, time.Now, no metrics.
	Logger     *slog.Logger
	Now        func() time.Time
	Registerer prometheus.Registerer
	// Dialled is told each address of a server the first time it is connected to.
	Dialled func(netip.AddrPort)
	// Trouble is told that a server stopped answering. It must not block.
	Trouble func()
	// Monitor sees every command, for tests.
	Monitor *event.CommandMonitor
}

// Store is the engine. Close it.
type Store struct {
	client  *mongo.Client
	db      *mongo.Database
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics
	pos     *positions
	media   *bucket
	bodies  *bucket

	appends  *batcher[*appending]
	settles  *batcher[*settling]
	lanes    *lanes
	aliases  *aliasCache
	stopping atomic.Bool // nothing is repeated any more
	closed   atomic.Bool
	closing  sync.Once
	closeErr error
}

// One line that fails to compile if the engine falls behind the seam.
var _ store.Store = (*Store)(nil)

// errClosed is what every call gets after Close.
var errClosed = errors.New("store is closed")

// ErrAbsent says that there is no database of this program under the name.
var ErrAbsent = errors.New("there is none of this program; is the name right?")

// closeTimeout bounds how long Close waits for the server.
const closeTimeout = 5 * time.Second

// Open connects, refuses a database that is a newer program's or not ours, and makes
// the indexes. It fails with store.ErrNewer if a newer program wrote the database.
func Open(ctx context.Context, cfg Config, deps Deps) (*Store, error) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register database metrics: %w", err)
	}
	opts, err := clientOptions(cfg.URI, deps, m)
	if err != nil {
		m.unregister()
		return nil, err
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		m.unregister()
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	s := newStore(client, cfg.Database, deps, m)
	if err := s.prepare(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", cfg.Database, err), s.Close())
	}
	return s, nil
}

func newStore(client *mongo.Client, name string, deps Deps, m *metrics) *Store {
	s := &Store{
		client: client, db: client.Database(name), now: deps.Now, metrics: m,
		log: deps.Logger.With("component", "mongo"), pos: newPositions(deps.Now),
		lanes: newLanes(), aliases: newAliasCache(),
	}
	s.media, s.bodies = newBucket(s, "media"), newBucket(s, "bodies")
	s.appends = startBatcher(s.runAppends)
	s.settles = startBatcher(s.runSettles)
	return s
}

// prepare checks the version, makes the indexes and frees what a dead predecessor held.
func (s *Store) prepare(ctx context.Context, cfg Config) error {
	if err := s.checkVersion(ctx, cfg); err != nil {
		return err
	}
	if err := s.ensureIndexes(ctx); err != nil {
		return err
	}
	if cfg.Instance != "" {
		if err := s.voidLeases(ctx, cfg.Instance); err != nil {
			return fmt.Errorf("free the leases of a predecessor: %w", err)
		}
	}
	if err := s.sweepUploads(ctx); err != nil {
		return fmt.Errorf("remove unfinished uploads: %w", err)
	}
	return nil
}

// Ping writes one document durably.
func (s *Store) Ping(ctx context.Context) error {
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collMeta).ReplaceOne(ctx, byID("health"),
			doc(el("_id", "health"), el("at", s.now())), options.Replace().SetUpsert(true))
		return err
	})
	if err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Close finishes what was accepted and disconnects. Calls that come later fail. It
// may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.stopping.Store(true)
		s.appends.drain()
		s.settles.drain()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := s.flushChats(ctx, true); err != nil {
			// The newest event of each chat says the same.
			s.log.Debug("counters of chats were not written", "err", err)
		}
		s.closed.Store(true)
		if err := s.client.Disconnect(ctx); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
			s.closeErr = fmt.Errorf("close database: %w", err)
		}
		s.metrics.unregister()
	})
	return s.closeErr
}

// The collections.
const (
	collMeta       = "meta"
	collAccounts   = "accounts"
	collChats      = "chats"
	collAliases    = "aliases"
	collEvents     = "events"
	collMessages   = "messages"
	collSends      = "sends"
	collDeliveries = "deliveries"
	collEndpoints  = "endpoints"
	collWebhooks   = "webhooks"
	collKV         = "kv"
	collLeases     = "leases"
	collUploads    = "uploads"
)

func (s *Store) coll(name string) *mongo.Collection { return s.db.Collection(name) }
