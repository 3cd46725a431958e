package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

// openStore takes the data folder and opens the database and what is in the folder.
func (a *App) openStore(ctx context.Context) error {
	var err error
	if a.release, err = sqlite.Lock(a.cfg.Data); err != nil {
		return err
	}
	uri := a.cfg.Database.URI.Reveal()
	if file, ok := strings.CutPrefix(uri, "sqlite:"); ok {
		err = a.openSQLite(ctx, file)
	} else {
		err = a.openMongo(ctx, uri)
	}
	if err == nil {
		err = migrate.Check(ctx, a.store)
	}
	if err == nil {
		err = a.openKeys(ctx)
	}
	if err != nil {
		return err
	}
	a.network, err = openNetwork(ctx, a.cfg, a.store, a.deps)
	return err
}

func (a *App) openSQLite(ctx context.Context, file string) error {
	s, err := sqlite.Open(ctx, sqlite.Config{Path: file, Dir: a.cfg.Data, ReadyLog: true}, sqlite.Deps{
		Logger: a.deps.Logger, Registerer: a.metrics,
	})
	if err != nil {
		return err
	}
	a.store = s
	// The lock on the data folder grants it: nobody else can ask.
	lease, err := s.AcquireLease(ctx, "hub", "hub", time.Minute)
	if err != nil {
		return fmt.Errorf("take the hub's lease: %w", err)
	}
	a.epoch = lease.Epoch
	a.devices, err = devices.Open(ctx, filepath.Join(a.cfg.Data, "devices.db"), devices.Deps{Logger: a.deps.Logger})
	return err
}

// openMongo opens a database that other processes could use, too. The lock on the data
// folder proves that a predecessor of the folder's name is dead.
func (a *App) openMongo(ctx context.Context, uri string) error {
	instance, err := instanceName(filepath.Join(a.cfg.Data, "instance"))
	if err != nil {
		return err
	}
	s, err := mongo.Open(ctx, mongo.Config{URI: uri, Database: a.cfg.Database.Name, Instance: instance}, mongo.Deps{
		Logger: a.deps.Logger, Registerer: a.metrics, Dialled: a.guard.Deny,
		Trouble: func() {
			select {
			case a.trouble <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		return err
	}
	a.store, a.instance = s, instance
	a.devices, err = devices.OpenMongo(ctx, s.Database(), devices.Deps{Logger: a.deps.Logger})
	return err
}

// instanceName reads the name that a data folder gives its hub, made at the first start.
func instanceName(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the hub's name: %w", err)
	}
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	name := hex.EncodeToString(raw)
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the hub's name: %w", err)
	}
	return name, nil
}
