package control_test

import (
	"testing"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestMain(m *testing.M) { simtest.Run(m) }

func newServer(t testing.TB, dir string) *simulator.Server {
	t.Helper()
	return simtest.Serve(t, simulator.Options{Dir: dir, Control: control.Handler})
}
