package sqlite

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Dir: dir}, Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openStore(t, t.TempDir()) })
}

func TestConformanceAfterReopening(t *testing.T) {
	storetest.RunReopen(t, func(t *testing.T, dir string) store.Store { return openStore(t, dir) })
}

func TestTransfer(t *testing.T) {
	storetest.RunTransfer(t, func(t *testing.T) store.Store { return openStore(t, t.TempDir()) })
}
