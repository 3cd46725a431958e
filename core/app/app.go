// Package app wires the hub together, straight down the page: New makes everything
// that can fail on a mistake of the operator's, before anything live is touched;
// Start brings it up in the order of the message's way back to front; Stop takes it
// down the other way. It owns no behaviour of its own.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/connector"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/egress"
	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/partition"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/rules"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/plugins"
	"github.com/wildcathub/wildcat/sdk"
)

// Deps is what the command passes in.
type Deps struct {
	Version string
	Logger  *slog.Logger
	// Reread reads the configuration again, for a reload of the rules; nil: it is as it was.
	Reread func() (*config.Config, error)
	// QR gets the QR codes of accounts that pair, for a terminal; nil shows none.
	QR io.Writer
}

// App is the hub.
type App struct {
	cfg  *config.Config
	deps Deps
	log  *slog.Logger

	release func() error
	store   store.Store
	// instance names this hub to others on the same database; "" if there can be none.
	instance string
	trouble  chan struct{} // holds a token once the database stopped answering
	epoch    uint64
	peers    *peers
	devices  *devices.Container
	network  *network
	guard    *egress.Guard
	rules    *rules.Manager
	pipeline *pipeline.Pipeline
	sends    *send.Queue
	outbox   *deliver.Outbox
	// partitions are those whose deliveries are this hub's to make; nil if all are.
	partitions *partition.Keeper
	nudges     *nudges
	registry   *connector.Registry
	accounts   *account.Manager
	keys       *keys.Ring
	api        *api.Server
	metrics    *prometheus.Registry
}

// stopTimeout bounds an orderly stop; what is not done by then is stored and resumes. A part
// that waits on for a database which does not answer is left behind stopMargin later.
const (
	stopTimeout = 8 * time.Second
	stopMargin  = 2 * time.Second
)

// New opens the data folder and makes every part; nothing runs before Start. On an
// error nothing is left open.
func New(ctx context.Context, cfg *config.Config, deps Deps) (app *App, err error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	a := &App{cfg: cfg, deps: deps, log: deps.Logger.With("component", "app"), metrics: prometheus.NewRegistry(), trouble: make(chan struct{}, 1)}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()

	// The operator's own mistakes come first: they need nothing to be opened.
	if a.rules, err = rules.New(rules.Deps{
		Read: ruleSource(cfg, deps.Reread), Lua: lua.Deps{Logger: deps.Logger, Registerer: a.metrics},
	}); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if a.guard, err = newGuard(cfg, a.metrics); err != nil {
		return nil, err
	}
	if err := a.openStore(ctx); err != nil {
		return nil, err
	}

	render := whatsapp.Renderer{}
	events := &eventSource{}
	if a.outbox, err = deliver.New(deliver.Config{
		// No journal of what is in flight: no connector runs foreign code in this process, so a
		// death of it says nothing about the delivery, and must not bury one.
		InFlight: cfg.Deliver.InFlight, Retry: cfg.Deliver.Retry,
	}, deliver.Deps{
		Store: a.store, Events: events, Logger: deps.Logger, Registerer: a.metrics,
		Epoch: a.epoch, Shared: a.shared(), Leased: a.delivers, Elsewhere: a.nudge,
	}); err != nil {
		return nil, err
	}
	var problems []connector.ConfigProblem
	a.registry, problems = connector.NewRegistry(registryConfig(cfg), connector.RegistryDeps{
		Webhooks: a.store, Outbox: a.outbox, Logger: deps.Logger,
		Builtin: plugins.Builtin(plugins.Deps{HTTP: &http.Client{Transport: a.guard.Transport(), CheckRedirect: noRedirect}}),
		Program: program(cfg, deps.Logger, a.metrics),
		Host:    func(name string) sdk.Host { return host{name: name, sends: a.sends, store: a.store} },
	})
	if len(problems) > 0 {
		return nil, connectorProblems(cfg, problems)
	}
	if a.pipeline, err = pipeline.New(pipeline.Config{}, pipeline.Deps{
		Store: a.store, Rules: a.rules, Render: render, Endpoints: a.registry, Deliveries: a.outbox.Enqueue,
		Sends: func(id string) { a.sends.Wake(id) }, Leased: a.leased, Logger: deps.Logger, Registerer: a.metrics,
	}); err != nil {
		return nil, err
	}
	events.pipeline = a.pipeline
	if a.sends, err = send.New(send.Config{AtMostOnce: cfg.Replies == config.RepliesAtMostOnce}, send.Deps{
		Store: a.store, Events: a.pipeline, Render: render, Leased: a.leased, Tenure: a.tenure(), Logger: deps.Logger, Registerer: a.metrics,
	}); err != nil {
		return nil, err
	}
	if a.accounts, err = a.newAccounts(); err != nil {
		return nil, err
	}
	var others api.Peers
	if a.shared() {
		if err = a.newPartitions(); err != nil {
			return nil, err
		}
		if a.peers, err = newPeers(ctx, a); err != nil {
			return nil, err
		}
		if a.nudges, err = newNudges(a); err != nil {
			return nil, err
		}
		others = a.peers
	}
	if a.api, err = api.New(api.Config{Server: cfg.Server, Network: cfg.WhatsApp.Network, Version: deps.Version}, api.Deps{
		Accounts: forgetful{a.accounts, a.outbox}, Sender: a.sends, Sends: a.store, Messages: a.store, Blobs: a.store, Webhooks: a.registry,
		Deliveries: deliveries{store: a.store, outbox: a.outbox}, Tracer: tracer{a.store},
		Connectors: connectors{cfg: cfg, registry: a.registry, outbox: a.outbox}, Rules: ruleBook{a.rules}, Health: health{a}, Keys: a.keys, Peers: others, Nudged: a.nudged,
		Gatherer: a.metrics, Registerer: a.metrics, Logger: deps.Logger,
	}); err != nil {
		return nil, err
	}
	return a, nil
}

// Start brings the hub up. The rules in force come first, for events need them. What a predecessor left unfinished is taken up first, then
// deliveries, then connections, then REST.
func (a *App) Start(ctx context.Context) error {
	if err := a.rules.Start(ctx, rules.Place{KV: a.store, Hub: a.instance, Shared: a.shared()}); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	if err := a.outbox.Start(ctx); err != nil {
		return err
	}
	a.pipeline.Start()
	// The lock on the data folder proves that who made them is gone.
	if n := connector.RemoveStale(runDir(a.cfg)); n > 0 {
		a.log.Info("removed what connectors of a hub that was killed have left", "folders", n)
	}
	if err := a.registry.Start(ctx); err != nil {
		return err
	}
	if err := a.accounts.Start(ctx); err != nil {
		return err
	}
	if a.partitions != nil {
		if err := a.partitions.Start(ctx); err != nil {
			return err
		}
	}
	a.keys.Start()
	if err := a.api.Start(ctx); err != nil {
		return err
	}
	a.denyOwnSockets()
	if a.peers != nil {
		if err := a.peers.start(ctx, a.URL()); err != nil {
			return err
		}
	}
	a.log.Info("started", "address", a.URL(), "network", string(a.cfg.WhatsApp.Network), "version", a.deps.Version, "keys", a.keys.Mode().String())
	return nil
}

// denyOwnSockets keeps webhooks away from the hub itself, once it is known where it listens.
func (a *App) denyOwnSockets() {
	own := []string{a.api.Addr().String()}
	if a.network.sandbox != nil {
		own = append(own, strings.TrimPrefix(a.network.sandbox.URL(), "http://"))
	}
	for _, addr := range own {
		if ap, err := netip.ParseAddrPort(addr); err == nil {
			a.guard.Deny(ap)
		}
	}
}

// URL is where REST is served, after Start.
func (a *App) URL() string {
	if a.api.Addr() == nil {
		return ""
	}
	return "http://" + a.api.Addr().String()
}

// Failed yields an error if a part ends that should not.
func (a *App) Failed() <-chan error { return a.api.Failed() }

// Stop takes the hub down: no new requests, no new events, then what is under way is
// finished or left for the next start. Safe after a Start that failed. If it takes too long it
// returns an error while something still runs: the process is to end then, which is no worse
// than a crash.
func (a *App) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.stop(ctx) }()
	late := time.NewTimer(stopTimeout + stopMargin)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("stop: not done within %s, as when the database does not answer; what is unfinished is taken up by the next start", stopTimeout)
	}
}

func (a *App) stop(ctx context.Context) error {
	var errs []error
	if a.peers != nil {
		a.peers.stop(ctx)
	}
	for _, stop := range []func(context.Context) error{
		a.api.Stop, a.rules.Stop, a.accounts.Stop, a.stopSharing, a.pipeline.Stop, a.outbox.Stop, a.registry.Stop,
	} {
		errs = append(errs, stop(ctx))
	}
	a.keys.Stop(ctx)
	errs = append(errs, a.close())
	a.log.Info("stopped")
	return errors.Join(errs...)
}

// close closes what New opened, in reverse.
func (a *App) close() error {
	var errs []error
	if a.network != nil {
		errs = append(errs, a.network.close())
	}
	if a.devices != nil {
		errs = append(errs, a.devices.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.release != nil {
		errs = append(errs, a.release())
	}
	return errors.Join(errs...)
}

// eventSource gives the outbox the pipeline, which is made after it.
type eventSource struct{ pipeline *pipeline.Pipeline }

func (s *eventSource) Event(ctx context.Context, id string) (store.StoredEvent, error) {
	return s.pipeline.Event(ctx, id)
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newGuard makes the guard on addresses that users give. Loopback targets are allowed
// while the hub itself is reachable from this machine only, so that a local n8n works.
func newGuard(cfg *config.Config, reg prometheus.Registerer) (*egress.Guard, error) {
	return egress.NewWith(egress.Config{
		AllowCIDRs: cfg.Egress.AllowCIDRs, AllowLoopback: config.Loopback(cfg.Server.Host),
	}, egress.Deps{Registerer: reg})
}
