package connector

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

// hub is a registry with its outbox, on a store that another uses, too.
func hub(t *testing.T, s store.Store) (*Registry, *deliver.Outbox) {
	t.Helper()
	outbox, err := deliver.New(deliver.Config{}, deliver.Deps{Store: s, Events: s, Shared: true})
	require.NoError(t, err)
	require.NoError(t, outbox.Start(t.Context()))
	r, problems := NewRegistry(RegistryConfig{}, RegistryDeps{
		Webhooks: s, Outbox: outbox, Host: func(string) sdk.Host { return nil },
		Builtin: map[string]func() sdk.Connector{webhookName: func() sdk.Connector { return picky{} }},
	})
	require.Empty(t, problems)
	require.NoError(t, r.Start(t.Context()))
	t.Cleanup(func() {
		require.NoError(t, outbox.Stop(context.Background()))
		require.NoError(t, r.Stop(context.Background()))
	})
	return r, outbox
}

func TestTwoRegistriesOnOneStoreAgreeOnWhatIsRegisteredAndDisabled(t *testing.T) {
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	a, outA := hub(t, s)
	b, outB := hub(t, s)
	hook := store.Webhook{ID: "wh_1", URL: "http://crm.example/"}
	_, _, err = a.AddWebhook(t.Context(), hook)
	require.NoError(t, err)
	state := func(o *deliver.Outbox) string {
		st, err := o.Status(t.Context(), hook.ID)
		if err != nil {
			return "unknown"
		}
		return st.State
	}
	follows := func(r *Registry, o *deliver.Outbox, want string) {
		require.Eventually(t, func() bool {
			return r.Refresh(t.Context()) == nil && state(o) == want
		}, 10*time.Second, 20*time.Millisecond)
	}
	require.Equal(t, "unknown", state(outB))
	follows(b, outB, "active")
	require.NoError(t, outA.Disable(hook.ID, "operator"))
	follows(b, outB, "disabled")
	require.NoError(t, outB.Enable(t.Context(), hook.ID))
	follows(a, outA, "active")
	require.NoError(t, outB.Disable(hook.ID, "operator"))
	follows(a, outA, "disabled")

	// One that starts now finds it so.
	c, outC := hub(t, s)
	require.Equal(t, "disabled", state(outC))
	require.NoError(t, c.DeleteWebhook(t.Context(), hook.ID))
	follows(a, outA, "unknown")
}
