package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/connector"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// registryConfig is the part of the configuration that makes endpoints.
func registryConfig(cfg *config.Config) connector.RegistryConfig {
	return connector.RegistryConfig{
		Dir: cfg.Resolve("."), Connectors: cfg.Connectors, Webhooks: cfg.Webhooks, Retry: cfg.Deliver.Retry,
	}
}

// program makes the connector of an entry that names a program. It works in the
// configuration's folder, so that relative paths in `with:` mean what they seem to.
func program(cfg *config.Config, log *slog.Logger, reg prometheus.Registerer) func(config.ConnectorConfig, string) sdk.Connector {
	return func(c config.ConnectorConfig, path string) sdk.Connector {
		dir, err := filepath.Abs(cfg.Resolve("."))
		if err != nil {
			dir = cfg.Resolve(".")
		}
		return connector.NewProcess(
			connector.ProcessConfig{Name: c.Name, Path: path, SHA256: c.SHA256, Dir: dir, RunDir: runDir(cfg)},
			connector.Deps{Logger: log, Registerer: reg},
		)
	}
}

// runDir is where the sockets of connectors' programs are.
func runDir(cfg *config.Config) string { return filepath.Join(cfg.Data, "run") }

// connectors shows the endpoints over REST: who they are from the registry, how their
// deliveries do from the outbox, how a program does from its supervisor.
type connectors struct {
	cfg      *config.Config
	registry *connector.Registry
	outbox   *deliver.Outbox
}

var _ api.Connectors = connectors{}

// ConnectorStatus implements api.Connectors.
func (c connectors) ConnectorStatus(ctx context.Context) ([]api.ConnectorStatus, error) {
	statuses, err := c.outbox.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]deliver.EndpointStatus, len(statuses))
	for _, s := range statuses {
		byID[s.ID] = s
	}
	var out []api.ConnectorStatus
	for _, e := range c.registry.Entries() {
		d := byID[e.ID]
		s := api.ConnectorStatus{
			ID: e.ID, Name: e.Name, Use: e.Use, Enabled: true, State: d.State, Reason: d.Reason,
			Version: e.Connector.Info().Version, Events: e.Events, Accounts: e.Accounts, Deliveries: d.Counts,
			OldestQueued: unlessZero(d.OldestQueued),
		}
		if s.Deliveries == nil {
			s.Deliveries = map[store.DeliveryState]int{}
		}
		if s.Reason == "" && d.State == "failing" {
			s.Reason = d.LastError
		}
		if p, ok := e.Connector.(*connector.Process); ok {
			ps := p.Status()
			s.Restarts = ps.Restarts
			if ps.State != connector.StateReady {
				s.State, s.Reason = string(ps.State), ps.Reason
			}
		}
		out = append(out, s)
	}
	for _, cc := range c.cfg.Connectors {
		if cc.Enabled != nil && !*cc.Enabled {
			out = append(out, api.ConnectorStatus{
				ID: "connector:" + cc.Name, Name: cc.Name, Use: cc.Use, State: "off", Events: cc.Events,
				Accounts: cc.Accounts, Deliveries: map[store.DeliveryState]int{},
			})
		}
	}
	return append(out, c.missing(out)...), nil
}

// missing shows what waits for connectors that are not configured. Those that are switched off
// get it counted.
func (c connectors) missing(shown []api.ConnectorStatus) []api.ConnectorStatus {
	var out []api.ConnectorStatus
	for _, m := range c.outbox.Missing() {
		i := slices.IndexFunc(shown, func(s api.ConnectorStatus) bool { return s.ID == m.ID })
		if i >= 0 {
			shown[i].Deliveries, shown[i].OldestQueued = m.Counts, unlessZero(m.OldestQueued)
			continue
		}
		out = append(out, api.ConnectorStatus{
			ID: m.ID, Name: strings.TrimPrefix(m.ID, "connector:"), State: m.State, Reason: m.Reason, Events: []string{}, Accounts: []string{},
			Deliveries: m.Counts, OldestQueued: unlessZero(m.OldestQueued),
		})
	}
	return out
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// EnableConnector implements api.Connectors.
func (c connectors) EnableConnector(ctx context.Context, id string) error {
	for _, e := range c.registry.Entries() {
		if p, ok := e.Connector.(*connector.Process); ok && e.ID == id {
			if err := p.Retry(ctx); err != nil {
				return err
			}
		}
	}
	return c.outbox.Enable(ctx, id)
}

// DisableConnector implements api.Connectors.
func (c connectors) DisableConnector(_ context.Context, id string) error {
	return c.outbox.Disable(id, "operator")
}

// DiscardWaiting implements api.Connectors.
func (c connectors) DiscardWaiting(ctx context.Context, id string) (int, error) {
	n, err := c.outbox.Discard(ctx, id)
	if errors.Is(err, store.ErrNotFound) && c.off(id) {
		return 0, nil // it is shown, and nothing waits for it
	}
	if errors.Is(err, deliver.ErrServed) {
		err = api.ErrConnectorServed
	}
	return n, err
}

// off says whether an entry of the configuration is switched off.
func (c connectors) off(id string) bool {
	return slices.ContainsFunc(c.cfg.Connectors, func(cc config.ConnectorConfig) bool {
		return "connector:"+cc.Name == id && cc.Enabled != nil && !*cc.Enabled
	})
}
