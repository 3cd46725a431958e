package account_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/migrate"
)

// Keys that were moved to the server, and back into another file, are used where they are
// now: the account connects without a code, and what comes in the sessions that were moved
// is read.
func TestADeviceGoesOnAfterItsKeysWereMoved(t *testing.T) {
	k := newMongoKeys(t)
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	group, err := friend.CreateGroup(within(t), "us", "15550001")
	require.NoError(t, err)
	var want []string
	talk := func() {
		for _, to := range []string{"15550001", group} {
			want = append(want, fmt.Sprint("message ", len(want)))
			h.say(friend, to, want[len(want)-1])
			h.waitTexts(want...)
			require.NoError(t, dev.WaitDrained(within(t)))
		}
	}
	move := func(from, to migrate.Place) {
		h.stop()
		a, err := migrate.OpenSource(t.Context(), from)
		require.NoError(t, err)
		b, err := migrate.Open(t.Context(), to)
		require.NoError(t, err)
		report, err := migrate.Run(t.Context(), a, b, migrate.Options{})
		require.NoError(t, err)
		require.True(t, report.Equal())
		require.Empty(t, report.Unowned)
		require.NoError(t, b.Close())
		require.NoError(t, a.Close())
	}
	talk()
	file := migrate.Place{URI: "sqlite:wildcat.db", Data: h.dir}
	server := migrate.Place{URI: os.Getenv("MONGODB_URI"), Database: k.name}
	move(file, server)
	// The hub of these tests keeps all but the keys in a file.
	h.openKeys = func(deps devices.Deps) (*devices.Container, error) {
		return devices.OpenMongo(t.Context(), k.client.Database(k.name), deps)
	}
	h.open()
	h.waitState("a", account.StateConnected, "")
	talk()
	h.dir, h.openKeys = t.TempDir(), nil
	move(server, migrate.Place{URI: "sqlite:wildcat.db", Data: h.dir})
	h.open()
	h.waitState("a", account.StateConnected, "")
	talk()
}
