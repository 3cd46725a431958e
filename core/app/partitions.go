package app

import (
	"context"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/partition"
	"github.com/wildcathub/wildcat/core/store"
)

// newPartitions shares the deliveries out among the hubs on the database, whichever of them
// holds the account.
func (a *App) newPartitions() error {
	var err error
	a.partitions, err = partition.New(partition.Config{Instance: a.instance, Lease: a.lease()}, partition.Deps{
		Store: a.store, Own: a.outbox.Own, Disown: a.outbox.Disown, Logger: a.deps.Logger, Registerer: a.metrics,
	})
	return err
}

// delivers says whether a partition's deliveries are this hub's to make under an epoch. Where it
// has the database to itself nobody asks.
func (a *App) delivers(p int, epoch uint64) bool { return a.partitions.Leased(p, epoch) }

// nudge tells the hub whose partition it is that a lane has got deliveries.
func (a *App) nudge(p int, lane store.LaneRef) {
	if a.nudges != nil {
		a.nudges.add(a.partitions.Holder(p), api.NudgeLane{Endpoint: lane.Endpoint, Account: lane.Account, Chat: lane.Chat})
	}
}

// nudged is told the same by another hub.
func (a *App) nudged(n api.Nudge) {
	lanes := make([]store.LaneRef, len(n.Lanes))
	for i, l := range n.Lanes {
		lanes[i] = store.LaneRef{Endpoint: l.Endpoint, Account: l.Account, Chat: l.Chat}
	}
	a.outbox.Nudge(lanes)
	if n.More {
		a.outbox.Rescan()
	}
}

// stopSharing gives the partitions back once nothing more is written into them: the other hubs
// count this one no longer by then, and take them at once. Safe without a start.
func (a *App) stopSharing(context.Context) error {
	if a.partitions != nil {
		a.partitions.Stop()
	}
	if a.nudges != nil {
		a.nudges.stop()
	}
	return nil
}
