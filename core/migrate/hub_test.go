package migrate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// A hub that looked at the database before it was claimed takes its lease after that.
func TestAHubThatAppearsDuringAMoveIsFound(t *testing.T) {
	for _, when := range []struct {
		name string
		at   func(kind string) bool
	}{
		{"while it copies", func(kind string) bool { return kind == string(store.KindAccounts) }},
		{"at the end of the copy", func(kind string) bool { return kind == "keys: "+lidTable().Name }},
	} {
		t.Run(when.name, func(t *testing.T) {
			a, b := open(t, file(t)), open(t, server(t))
			fill(t, a)
			var hub store.Lease
			_, err := Run(t.Context(), a, b, Options{Progress: func(kind string, _ int) {
				if when.at(kind) && hub.Name == "" {
					var err error
					hub, err = b.Store.AcquireLease(t.Context(), "instance/late", "late", time.Hour)
					require.NoError(t, err)
				}
			}})
			require.ErrorIs(t, err, ErrInUse)
			require.ErrorContains(t, err, "the hub late has the lease instance/late")
			require.ErrorIs(t, Check(t.Context(), b.Store), ErrUnfinished)
			require.NoError(t, b.Store.ReleaseLease(t.Context(), hub))
			_, err = Run(t.Context(), a, b, Options{})
			require.NoError(t, err)
		})
	}
}

func TestAHubThatAppearsDuringTheComparisonIsFound(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	_, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	// The clock is asked first when the comparison begins.
	var hub store.Lease
	asked := 0
	_, err = Run(t.Context(), a, b, Options{Now: func() time.Time {
		if asked++; asked == 3 {
			hub, err = b.Store.AcquireLease(t.Context(), "instance/late", "late", time.Hour)
			require.NoError(t, err)
		}
		return time.Now()
	}})
	require.ErrorIs(t, err, ErrInUse)
	require.NotEmpty(t, hub.Name)
}

func TestAHubThatAppearsDuringAnImportIsFound(t *testing.T) {
	from, _ := old(t)
	to := open(t, server(t))
	var hub store.Lease
	_, err := Import(t.Context(), from, to, ImportOptions{Progress: func(kind string, _ int) {
		if kind == lineFiles {
			var err error
			hub, err = to.Store.AcquireLease(t.Context(), "instance/late", "late", time.Hour)
			require.NoError(t, err)
		}
	}})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorIs(t, Check(t.Context(), to.Store), ErrUnfinished)
	require.NoError(t, to.Store.ReleaseLease(t.Context(), hub))
	_, err = Import(t.Context(), from, to, ImportOptions{})
	require.NoError(t, err)
	require.NoError(t, Check(t.Context(), to.Store))
}
