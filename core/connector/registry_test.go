package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// picky is a connector that answers to its configuration like this.
type picky struct {
	sdk.Connector
	err error
}

func (p picky) Configure(json.RawMessage) error                { return p.err }
func (picky) Info() sdk.Info                                   { return sdk.Info{Type: "picky"} }
func (picky) Start(context.Context, sdk.Host) error            { return nil }
func (picky) Stop(context.Context) error                       { return nil }
func (picky) Deliver(context.Context, sdk.Delivery) sdk.Result { return sdk.Result{Status: sdk.OK} }

// noWebhooks is a store in which none are registered.
type noWebhooks struct{ store.Webhooks }

func (noWebhooks) ListWebhooks(context.Context) ([]store.Webhook, error) { return nil, nil }

// shelf notes the endpoints that it is given.
type shelf []deliver.Endpoint

func (s *shelf) AddEndpoint(e deliver.Endpoint)             { *s = append(*s, e) }
func (*shelf) RemoveEndpoint(context.Context, string) error { return nil }
func (*shelf) Refresh(context.Context) error                { return nil }

func builtin(err error) map[string]func() sdk.Connector {
	return map[string]func() sdk.Connector{"picky": func() sdk.Connector { return picky{err: err} }}
}

func TestEveryMistakeOfAnEntryHasItsKey(t *testing.T) {
	err := errors.Join(
		&sdk.ConfigError{Path: "url", Message: "is required"},
		fmt.Errorf("wrapped: %w", errors.Join(
			&sdk.ConfigError{Path: "ulr", Message: `unknown field "ulr", did you mean "url"?`},
			&sdk.ConfigError{Message: "is odd"},
		)),
	)
	off := false
	r, problems := NewRegistry(RegistryConfig{Connectors: []config.ConnectorConfig{
		{Name: "off", Use: "picky", Enabled: &off}, {Name: "a", Use: "picky"}, {Name: "b", Use: "pikcy"},
	}}, RegistryDeps{Builtin: builtin(err)})
	require.Empty(t, r.Entries())
	require.Equal(t, []ConfigProblem{
		{Index: 1, Key: "with.url", Message: "url: is required"},
		{Index: 1, Key: "with.ulr", Message: `unknown field "ulr", did you mean "url"?`, Unknown: true},
		{Index: 1, Key: "with", Message: "is odd"},
		{Index: 2, Key: "use", Message: `"pikcy" is neither a built-in connector (picky) nor a path such as ./bin/pikcy`},
	}, problems)

	_, problems = NewRegistry(RegistryConfig{Connectors: []config.ConnectorConfig{{Name: "a", Use: "picky"}}},
		RegistryDeps{Builtin: builtin(errors.New("no idea"))})
	require.Equal(t, []ConfigProblem{{Key: "with", Message: "no idea"}}, problems)
}

func TestAnEmptyScheduleIsKept(t *testing.T) {
	second, minute := []time.Duration{time.Second}, []time.Duration{time.Minute}
	var s shelf
	r, problems := NewRegistry(RegistryConfig{Retry: minute, Connectors: []config.ConnectorConfig{
		{Name: "none", Use: "picky", Retry: []time.Duration{}}, {Name: "own", Use: "picky", Retry: second}, {Name: "shared", Use: "picky"},
	}}, RegistryDeps{Builtin: builtin(nil), Webhooks: noWebhooks{}, Outbox: &s, Host: func(string) sdk.Host { return nil }})
	require.Empty(t, problems)
	require.NoError(t, r.Start(t.Context()))
	require.Len(t, s, 3)
	require.NotNil(t, s[0].Retry, "nil is the default schedule, empty is one attempt")
	require.Empty(t, s[0].Retry)
	require.Equal(t, second, s[1].Retry)
	require.Equal(t, minute, s[2].Retry)
	for i, e := range r.Entries() {
		require.Equal(t, i, e.Index)
	}
	require.NoError(t, r.Stop(t.Context()))
}
