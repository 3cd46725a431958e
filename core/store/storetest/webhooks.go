package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

var webhookTests = []test{
	{"are unique by URL and account, oldest first", func(t *testing.T, s store.Store) {
		w := store.Webhook{
			ID: "wh_2", URL: "http://x/", Account: "a", Events: []string{"message", "receipt"}, Secret: "whsec_x",
			Headers: map[string]string{"X-A.b": "1"}, CreatedAt: at(1),
		}
		got, created, err := s.CreateWebhook(t.Context(), w)
		require.NoError(t, err)
		require.True(t, created)
		same(t, w, got)
		again := w
		again.ID, again.Secret = "wh_3", "another"
		got, created, err = s.CreateWebhook(t.Context(), again)
		require.NoError(t, err)
		require.False(t, created)
		same(t, w, got)
		all := store.Webhook{ID: "wh_1", URL: "http://x/", CreatedAt: at(2)}
		_, created, err = s.CreateWebhook(t.Context(), all)
		require.NoError(t, err)
		require.True(t, created)
		list, err := s.ListWebhooks(t.Context())
		require.NoError(t, err)
		same(t, []store.Webhook{w, all}, list)
		require.NoError(t, s.DeleteWebhook(t.Context(), "wh_2"))
		require.ErrorIs(t, s.DeleteWebhook(t.Context(), "wh_2"), store.ErrNotFound)
		_, created, err = s.CreateWebhook(t.Context(), again)
		require.NoError(t, err)
		require.True(t, created)
	}},
	{"many who register the same get the same", func(t *testing.T, s store.Store) {
		ids := make([]string, 8)
		var created atomic.Int32
		side(t, 8, func(i int) error {
			w, isNew, err := s.CreateWebhook(t.Context(), store.Webhook{ID: fmt.Sprint("wh_", i), URL: "u"})
			ids[i] = w.ID
			if isNew {
				created.Add(1)
			}
			return err
		})
		require.EqualValues(t, 1, created.Load())
		for _, got := range ids {
			require.Equal(t, ids[0], got)
		}
	}},
	{"an endpoint's health is kept", func(t *testing.T, s store.Store) {
		e := store.EndpointState{ID: "wh_1", Disabled: true, Reason: "gone", OpenSince: at(1), LastOK: at(0), UpdatedAt: at(2)}
		require.NoError(t, s.SaveEndpoint(t.Context(), e))
		e.Disabled, e.OpenSince = false, at(3)
		require.NoError(t, s.SaveEndpoint(t.Context(), e))
		first := store.EndpointState{ID: "connector:x", UpdatedAt: at(1)}
		require.NoError(t, s.SaveEndpoint(t.Context(), first))
		all, err := s.EndpointStates(t.Context())
		require.NoError(t, err)
		same(t, []store.EndpointState{first, e}, all)
		for range 2 {
			require.NoError(t, s.DeleteEndpoint(t.Context(), "wh_1"))
		}
		all, err = s.EndpointStates(t.Context())
		require.NoError(t, err)
		same(t, []store.EndpointState{first}, all)
	}},
}
