package mongo

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// Version 1 wrote outcomes under the leases of accounts. Those of partitions begin anew, and
// must not be taken for older ones.
func TestADatabaseOfVersion1IsUpgraded(t *testing.T) {
	uri := server(t)
	client := admin(t, uri)
	name := database(t, uri)
	s := openStore(t, Config{URI: uri, Database: name}, Deps{})
	rows := client.Database(name).Collection(collDeliveries)
	due := time.Now()
	for _, state := range []store.DeliveryState{store.DeliveryQueued, store.DeliveryDead, store.DeliveryParked} {
		_, err := rows.InsertOne(t.Context(), deliveryDoc{ID: string(state), Endpoint: "hook", State: string(state), Epoch: 17, Due: &due, Pos: s.pos.next()})
		require.NoError(t, err)
	}
	meta := client.Database(name).Collection(collMeta)
	_, err := meta.UpdateOne(t.Context(), byID("schema"), doc(set(el("version", 1))))
	require.NoError(t, err)
	old, err := s.AcquireLease(t.Context(), "instance/old", "old", time.Hour)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	_, err = Open(t.Context(), Config{URI: uri, Database: name, Instance: "new"}, Deps{})
	require.ErrorIs(t, err, store.ErrLocked)
	require.ErrorContains(t, err, "hub old, of an older version")
	var have versionDoc
	require.NoError(t, meta.FindOne(t.Context(), byID("schema")).Decode(&have))
	require.Equal(t, 1, have.Version)

	// Its own, of before its restart, are no hindrance.
	s = openStore(t, Config{URI: uri, Database: name, Instance: old.Owner}, Deps{})
	missed, err := s.FinishDeliveries(t.Context(), []store.DeliveryFinish{{ID: "queued", Epoch: 1, State: store.DeliveryOK, Counted: true, At: due}})
	require.NoError(t, err)
	require.Empty(t, missed)
	again, err := s.RequeueDelivery(t.Context(), "dead", due)
	require.NoError(t, err)
	require.Zero(t, again.Epoch)
	require.NoError(t, meta.FindOne(t.Context(), byID("schema")).Decode(&have))
	require.Equal(t, version, have.Version)
}
