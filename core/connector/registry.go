package connector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// Outbox is where endpoints get their deliveries from.
type Outbox interface {
	AddEndpoint(e deliver.Endpoint)
	// RemoveEndpoint stops dispatching and cancels what waits.
	RemoveEndpoint(ctx context.Context, id string) error
}

// RegistryConfig is the part of the configuration that makes endpoints.
type RegistryConfig struct {
	// Dir is the folder that paths of programs are relative to.
	Dir        string
	Connectors []config.ConnectorConfig
	Webhooks   config.WebhooksConfig
	// Retry is the default schedule.
	Retry []time.Duration
}

// RegistryDeps is what the program passes in.
type RegistryDeps struct {
	Webhooks store.Webhooks
	Outbox   Outbox
	// Builtin makes built-in connectors by name.
	Builtin map[string]func() sdk.Connector
	// Program makes a connector that runs as a process of its own.
	Program func(c config.ConnectorConfig, path string) sdk.Connector
	// Host makes the host of a connector, by its name.
	Host   func(name string) sdk.Host
	Logger *slog.Logger
}

// Registry holds the endpoints: the entries under `connectors:` and the webhooks
// that were registered over REST. It owns their connectors' lives.
type Registry struct {
	cfg  RegistryConfig
	deps RegistryDeps
	log  *slog.Logger

	// changes makes registrations one at a time.
	changes sync.Mutex
	mu      sync.RWMutex
	entries []*entry
}

// entry is one endpoint with its filter.
type entry struct {
	id, name  string
	kind      string
	events    []string
	accounts  []string
	connector sdk.Connector
	config    config.ConnectorConfig
}

// ConfigProblem is a mistake in one entry under `connectors:`.
type ConfigProblem struct {
	// Index is the entry's, Key the key in it ("use", "with").
	Index   int
	Key     string
	Message string
}

// NewRegistry makes and configures the connectors of the configuration. It returns
// all mistakes that it finds; it starts nothing.
func NewRegistry(cfg RegistryConfig, deps RegistryDeps) (*Registry, []ConfigProblem) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{cfg: cfg, deps: deps, log: deps.Logger.With("component", "connector")}
	var problems []ConfigProblem
	for i, c := range cfg.Connectors {
		if c.Enabled != nil && !*c.Enabled {
			continue
		}
		e, problem := r.configured(c)
		if problem != nil {
			problem.Index = i
			problems = append(problems, *problem)
			continue
		}
		r.entries = append(r.entries, e)
	}
	return r, problems
}

func (r *Registry) configured(c config.ConnectorConfig) (*entry, *ConfigProblem) {
	e := &entry{id: "connector:" + c.Name, name: c.Name, kind: c.Use, events: c.Events, accounts: c.Accounts, config: c}
	if build, ok := r.deps.Builtin[c.Use]; ok {
		e.connector = build()
	} else {
		if !strings.ContainsAny(c.Use, `/\.`) {
			names := make([]string, 0, len(r.deps.Builtin))
			for n := range r.deps.Builtin {
				names = append(names, n)
			}
			slices.Sort(names)
			return nil, &ConfigProblem{Key: "use", Message: fmt.Sprintf("%q is neither a built-in connector (%s) nor a path such as ./bin/%s", c.Use, strings.Join(names, ", "), c.Use)}
		}
		path := c.Use
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.cfg.Dir, path)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, &ConfigProblem{Key: "use", Message: err.Error()}
		}
		if err := executable(path); err != nil {
			return nil, &ConfigProblem{Key: "use", Message: err.Error()}
		}
		e.connector = r.deps.Program(c, path)
	}
	with := []byte("{}")
	var err error
	if c.With != nil {
		with, err = json.Marshal(c.With)
	}
	if err != nil {
		return nil, &ConfigProblem{Key: "with", Message: err.Error()}
	}
	if err := e.connector.Configure(with); err != nil {
		return nil, &ConfigProblem{Key: "with", Message: err.Error()}
	}
	return e, nil
}

// Start starts every connector and gives the endpoints to the outbox. A connector
// that does not come up is retried by its supervisor and by its deliveries' back-off:
// the hub starts all the same, and what is meant for it waits in the store.
func (r *Registry) Start(ctx context.Context) error {
	hooks, err := r.deps.Webhooks.ListWebhooks(ctx)
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	for _, w := range hooks {
		e, err := r.webhook(w)
		if err != nil {
			r.log.Error("registered webhook is unusable", "connector", w.ID, "err", err)
			continue
		}
		r.entries = append(r.entries, e)
	}
	for _, e := range r.entries {
		if err := e.connector.Start(ctx, r.deps.Host(e.name)); err != nil {
			r.log.Error("connector did not start", "connector", e.name, "err", err)
		}
		r.deps.Outbox.AddEndpoint(r.endpoint(e))
	}
	return nil
}

// Stop stops every connector, side by side: one that hangs delays no other. Call it
// after the outbox has stopped.
func (r *Registry) Stop(ctx context.Context) error {
	r.mu.RLock()
	entries := slices.Clone(r.entries)
	r.mu.RUnlock()
	errs := make([]error, len(entries))
	var wg sync.WaitGroup
	for i, e := range entries {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := e.connector.Stop(ctx); err != nil {
				errs[i] = fmt.Errorf("stop connector %s: %w", e.name, err)
			}
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *Registry) endpoint(e *entry) deliver.Endpoint {
	retry := r.cfg.Retry
	if e.config.Retry != nil { // an empty list is one attempt
		retry = e.config.Retry
	}
	return deliver.Endpoint{
		ID: e.id, Name: e.name, Connector: e.connector, Retry: retry,
		Ordering: cmp.Or(e.config.Ordering, config.OrderingBounded),
	}
}

// Match returns the endpoints whose filter lets the event pass.
func (r *Registry) Match(ev *sdk.Event) []pipeline.EndpointRef {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var refs []pipeline.EndpointRef
	for _, e := range r.entries {
		if e.wants(ev) {
			refs = append(refs, pipeline.EndpointRef{ID: e.id, Name: e.name})
		}
	}
	return refs
}

func (e *entry) wants(ev *sdk.Event) bool {
	if len(e.accounts) > 0 && !slices.Contains(e.accounts, ev.Account) {
		return false
	}
	if len(e.events) == 0 {
		return ev.Type == sdk.TypeMessage
	}
	return slices.Contains(e.events, string(ev.Type))
}

// Entry is what is known of an endpoint without asking its connector's process.
type Entry struct {
	ID, Name, Use string
	Events        []string
	Accounts      []string
	Connector     sdk.Connector
}

// Entries returns the endpoints in the order in which they were added.
func (r *Registry) Entries() []Entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Entry, 0, len(r.entries))
	for _, e := range r.entries {
		events := e.events
		if len(events) == 0 {
			events = []string{string(sdk.TypeMessage)}
		}
		list = append(list, Entry{ID: e.id, Name: e.name, Use: e.kind, Events: events, Accounts: e.accounts, Connector: e.connector})
	}
	return list
}
