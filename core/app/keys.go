package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

// openKeys reads the API keys, and refuses to go on where the hub could be reached by others
// and nobody has a key. Only the database knows that, so that no check of a file can.
func (a *App) openKeys(ctx context.Context) (err error) {
	a.keys, err = keys.New(ctx, ringConfig(a.cfg, a.shared()), keys.Deps{Store: a.store, Logger: a.deps.Logger})
	if err != nil {
		return err
	}
	if a.cfg.NeedsKey() && !a.keys.Any() {
		return config.Problems{a.cfg.Problem("server.host", "%s can be reached from other machines and there is no API key: make one with `%s`, or set WILDCAT_ADMIN_KEY, "+
			"or listen on 127.0.0.1, or say auth: {disabled: true} to let anyone who reaches it send and read messages", a.cfg.Server.Host, createCommand(a.cfg))}
	}
	return nil
}

func ringConfig(cfg *config.Config, shared bool) keys.Config {
	return keys.Config{
		Disabled: cfg.Auth.Disabled, Loopback: config.Loopback(cfg.Server.Host), Proxied: len(cfg.Server.AllowHosts) > 0,
		Admin: cfg.Auth.AdminKey.Reveal(), Shared: shared,
	}
}

// createCommand is what makes the first key for a configuration.
func createCommand(cfg *config.Config) string {
	command := "wildcat keys create --name admin"
	quoted := func(s string) string {
		if strings.ContainsAny(s, " \"'$`\\") {
			return strconv.Quote(s)
		}
		return s
	}
	if cfg.Path != "" && cfg.Path != config.DefaultPath {
		command += " --config " + quoted(cfg.Path)
	}
	if cfg.Data != config.Default().Data {
		command += " --data " + quoted(cfg.Data)
	}
	return command
}

// Notes are what nobody can know from the configuration alone, a line each.
func Notes(cfg *config.Config) []string {
	if !cfg.NeedsKey() {
		return nil
	}
	return []string{"note: " + cfg.Server.Host + " can be reached from other machines, so that the hub starts only if its database holds an API key, " +
		"which this check does not open: `" + createCommand(cfg) + "` makes one"}
}

// Keys are the API keys of a database that was opened for them.
type Keys struct {
	*keys.Ring
	closers []func() error
}

// Close closes the database.
func (k *Keys) Close() error {
	var errs []error
	for i := len(k.closers) - 1; i >= 0; i-- {
		errs = append(errs, k.closers[i]())
	}
	return errors.Join(errs...)
}

// OpenKeys opens a hub's database for its API keys and nothing else. While a hub has the data
// folder of a SQLite database it fails with an error that wraps store.ErrLocked; MongoDB may be
// in use. A database that is being moved is refused, and one on MongoDB that is not there, unless
// makes is set.
func OpenKeys(ctx context.Context, cfg *config.Config, makes bool) (*Keys, error) {
	k := &Keys{}
	if err := k.open(ctx, cfg, makes); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

func (k *Keys) open(ctx context.Context, cfg *config.Config, makes bool) error {
	file, alone := strings.CutPrefix(cfg.Database.URI.Reveal(), "sqlite:")
	s, err := k.openStore(ctx, cfg, file, alone, makes)
	if err != nil {
		return err
	}
	k.closers = append(k.closers, s.Close)
	if err := migrate.Check(ctx, s); err != nil {
		return err
	}
	k.Ring, err = keys.New(ctx, ringConfig(cfg, !alone), keys.Deps{Store: s})
	return err
}

func (k *Keys) openStore(ctx context.Context, cfg *config.Config, file string, alone, makes bool) (store.Store, error) {
	if !alone {
		s, err := mongo.Open(ctx, mongo.Config{URI: cfg.Database.URI.Reveal(), Database: cfg.Database.Name, Existing: !makes}, mongo.Deps{})
		if errors.Is(err, mongo.ErrAbsent) {
			return nil, fmt.Errorf("%w: check database.name (DB_NAME), which is %q", err, cfg.Database.Name)
		}
		return s, err
	}
	release, err := sqlite.Lock(cfg.Data)
	if err != nil {
		return nil, err
	}
	k.closers = append(k.closers, release)
	return sqlite.Open(ctx, sqlite.Config{Path: file, Dir: cfg.Data}, sqlite.Deps{})
}
