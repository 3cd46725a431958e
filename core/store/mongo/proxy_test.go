package mongo

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store/mongo/mongotest"
)

// startProxy stands between the engine and the server, and gives up soon when the server is
// away.
func startProxy(t *testing.T, uri string) *mongotest.Proxy {
	t.Helper()
	p, err := mongotest.Start(uri)
	if errors.Is(err, mongotest.ErrUnsuitable) {
		t.Skip(err.Error())
	}
	require.NoError(t, err)
	p.URI += "&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000"
	t.Cleanup(p.Close)
	return p
}
