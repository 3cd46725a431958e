//go:build crashpoints

package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// TestACrashWithinSettleLeavesNothingOfIt kills a process at each point of Settle:
// the event is there, and none of its children; settling it again makes it whole.
func TestACrashWithinSettleLeavesNothingOfIt(t *testing.T) {
	ev := testEvent(1, "c")
	st := func(seq uint64) *store.Settlement {
		s := &store.Settlement{EventID: ev.ID, Account: "a", Chat: "c", Seq: seq, Verdict: []byte("v")}
		s.Sends = []store.Send{{ID: "s", Account: "a", WAID: "w", EventID: ev.ID}}
		for _, e := range []string{"e1", "e2"} {
			s.Deliveries = append(s.Deliveries, store.Delivery{ID: "d" + e, EventID: ev.ID, Endpoint: e, Account: "a", Chat: "c", Seq: seq})
		}
		return s
	}
	if dir := os.Getenv(childDir); dir != "" {
		s := openStore(t, dir)
		a, err := s.AppendEvent(t.Context(), store.Append{Event: ev})
		require.NoError(t, err)
		require.NoError(t, s.Settle(t.Context(), st(a.Seq)))
		return
	}
	for _, point := range []string{"after_verdict", "after_sends", "mid_fanout", "before_stage"} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "crash.log")
			cmd := child(t, t.Context(), dir, "TestACrashWithinSettleLeavesNothingOfIt")
			cmd.Env = append(cmd.Env, "WILDCAT_CRASH_AT="+point, "WILDCAT_CRASH_LOG="+log)
			require.Error(t, cmd.Run())
			got, err := os.ReadFile(log)
			require.NoError(t, err)
			require.Equal(t, point+"\n", string(got))

			s := openStore(t, dir)
			e, err := s.Event(t.Context(), ev.ID)
			require.NoError(t, err)
			require.Equal(t, store.StageStored, e.Stage)
			require.Nil(t, e.Verdict)
			sends, err := s.ListSends(t.Context(), store.SendQuery{})
			require.NoError(t, err)
			require.Empty(t, sends)
			ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{})
			require.NoError(t, err)
			require.Empty(t, ds)
			require.NoError(t, s.Settle(t.Context(), st(e.Event.Seq)))
			ds, err = s.ListDeliveries(t.Context(), store.DeliveryQuery{})
			require.NoError(t, err)
			require.Len(t, ds, 2)
		})
	}
}
