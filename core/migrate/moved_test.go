package migrate

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNoHubStartsOnWhatWasMoved(t *testing.T) {
	a, b, c := open(t, file(t)), open(t, server(t)), open(t, server(t))
	fill(t, a)
	require.NoError(t, a.Store.SetKV(t.Context(), hubs, "secret", []byte("s"), 0))
	_, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	require.ErrorIs(t, Check(t.Context(), a.Store), ErrMoved)
	require.ErrorContains(t, Check(t.Context(), a.Store), b.Name)
	require.NoError(t, Check(t.Context(), b.Store))
	_, err = b.Store.GetKV(t.Context(), hubs, "secret")
	require.Error(t, err, "each database has hubs of its own")

	_, err = Run(t.Context(), a, c, Options{})
	require.ErrorIs(t, err, ErrMoved, "what was moved may be old by now")
	_, err = Run(t.Context(), a, c, Options{Backup: true})
	require.NoError(t, err, "it was wanted")
	require.ErrorIs(t, Check(t.Context(), a.Store), ErrMoved, "which says nothing of the first")

	report, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	require.True(t, report.Before)
	_, err = Run(t.Context(), a, b, Options{Backup: true})
	require.NoError(t, err)
	require.NoError(t, Check(t.Context(), a.Store), "both are equal: nobody has used the other")

	_, err = Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	require.NoError(t, b.Store.SetKV(t.Context(), "rule/x", "k", []byte("v"), 0))
	_, err = Run(t.Context(), a, b, Options{Backup: true})
	require.ErrorIs(t, err, ErrDiffers)
	require.ErrorIs(t, Check(t.Context(), a.Store), ErrMoved, "somebody has used the other")
}

func TestABackupLeavesItsSourceInUse(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	_, err := Run(t.Context(), a, b, Options{Backup: true})
	require.NoError(t, err)
	require.NoError(t, Check(t.Context(), a.Store))
}
