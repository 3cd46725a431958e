package page_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestMain(m *testing.M) { simtest.Run(m) }

func newServer(t testing.TB) *simulator.Server {
	t.Helper()
	return simtest.Serve(t, simulator.Options{Control: control.Handler, Trace: 500})
}

func addPhone(t testing.TB, s *simulator.Server, number, name string) *simulator.Phone {
	t.Helper()
	p, err := s.AddPhone(number, name)
	require.NoError(t, err)
	return p
}
