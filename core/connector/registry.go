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
	// Refresh follows what other processes have disabled and enabled.
	Refresh(ctx context.Context) error
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
	changes  sync.Mutex
	unusable map[string]bool // webhooks of other processes that were reported; guarded by changes
	mu       sync.RWMutex
	entries  []*entry
}

// entry is one endpoint with its filter.
type entry struct {
	id, name  string
	number    int // under `connectors:`, from 1; 0 for a registered webhook
	kind      string
	events    []string
	accounts  []string
	connector sdk.Connector
	config    config.ConnectorConfig
}

// ConfigProblem is a mistake in one entry under `connectors:`.
type ConfigProblem struct {
	// Index is the entry's, Key the key in it ("use", "with", "with.url").
	Index   int
	Key     string
	Message string
	// Unknown says that the key is what is wrong, and not its value.
	Unknown bool
}

// Mistakes lists the mistakes that a connector finds in its configuration. An error
// that is none of these is one mistake of the whole.
func Mistakes(err error) []ConfigProblem {
	var list []ConfigProblem
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) { //nolint:errorlint // it is the tree of errors that is walked
		case *sdk.ConfigError:
			list = append(list, mistake(e))
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				walk(one)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	if len(list) == 0 && err != nil {
		list = []ConfigProblem{{Key: "with", Message: err.Error()}}
	}
	return list
}

func mistake(e *sdk.ConfigError) ConfigProblem {
	switch {
	case e.Path == "":
		return ConfigProblem{Key: "with", Message: e.Message}
	case strings.HasPrefix(e.Message, "unknown field"): // as encoding/json calls it, and it names the field
		return ConfigProblem{Key: "with." + e.Path, Message: e.Message, Unknown: true}
	}
	return ConfigProblem{Key: "with." + e.Path, Message: e.Error()}
}

// NewRegistry makes and configures the connectors of the configuration. It returns
// all mistakes that it finds; it starts nothing.
func NewRegistry(cfg RegistryConfig, deps RegistryDeps) (*Registry, []ConfigProblem) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{cfg: cfg, deps: deps, log: deps.Logger.With("component", "connector"), unusable: map[string]bool{}}
	var problems []ConfigProblem
	for i, c := range cfg.Connectors {
		if c.Enabled != nil && !*c.Enabled {
			continue
		}
		e, mistakes := r.configured(c)
		for _, m := range mistakes {
			m.Index = i
			problems = append(problems, m)
		}
		if len(mistakes) > 0 {
			continue
		}
		e.number = i + 1
		r.entries = append(r.entries, e)
	}
	return r, problems
}

func (r *Registry) configured(c config.ConnectorConfig) (*entry, []ConfigProblem) {
	only := func(key, message string) []ConfigProblem { return []ConfigProblem{{Key: key, Message: message}} }
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
			return nil, only("use", fmt.Sprintf("%q is neither a built-in connector (%s) nor a path such as ./bin/%s", c.Use, strings.Join(names, ", "), c.Use))
		}
		path := c.Use
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.cfg.Dir, path)
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, only("use", err.Error())
		}
		if err := executable(path); err != nil {
			return nil, only("use", err.Error())
		}
		e.connector = r.deps.Program(c, path)
	}
	with := []byte("{}")
	var err error
	if c.With != nil {
		with, err = json.Marshal(c.With)
	}
	if err != nil {
		return nil, only("with", err.Error())
	}
	if err := e.connector.Configure(with); err != nil {
		return nil, Mistakes(err)
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
	// Index is the entry's under `connectors:`, -1 for a registered webhook.
	Index     int
	Events    []string
	Accounts  []string
	Connector sdk.Connector
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
		list = append(list, Entry{ID: e.id, Name: e.name, Use: e.kind, Index: e.number - 1, Events: events, Accounts: e.accounts, Connector: e.connector})
	}
	return list
}
