package partition

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/store"
)

// takeover is how soon others have what a hub that was killed held.
const takeover = 20 * time.Second

func TestHubsShareAllPartitionsEvenly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		var hubs []*hub
		for i := range 5 {
			hubs = append(hubs, db.join(t, fmt.Sprint("hub", i)))
			time.Sleep(10 * time.Second)
			require.NoError(t, even(hubs))
			require.NoError(t, disjoint(hubs))
		}
		// One that leaves gives its part back at once, one that dies keeps it until its leases end.
		hubs[1].leave()
		hubs = slices.Delete(hubs, 1, 2)
		time.Sleep(4 * time.Second) // two may want the same one, and look again
		require.NoError(t, whole(hubs))
		time.Sleep(6 * time.Second)
		require.NoError(t, even(hubs))
		dead := hubs[0]
		held := dead.delivers()
		dead.die()
		hubs = hubs[1:]
		time.Sleep(7 * time.Second)
		for _, h := range hubs {
			for _, p := range h.delivers() {
				require.NotContains(t, held, p, "a lease that has not ended")
			}
		}
		time.Sleep(takeover - 7*time.Second)
		require.NoError(t, even(hubs))
		for _, h := range hubs {
			h.leave()
			require.Empty(t, h.delivers())
		}
	})
}

// A partition moves only for the sake of the shares.
func TestWhoJoinsTakesNoMoreThanItsPart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a, b := db.join(t, "a"), db.join(t, "b")
		time.Sleep(5 * time.Second)
		before := map[*hub][]int{a: a.delivers(), b: b.delivers()}
		c := db.join(t, "c")
		time.Sleep(10 * time.Second)
		require.NoError(t, even([]*hub{a, b, c}))
		for _, h := range []*hub{a, b} {
			require.Subset(t, before[h], h.delivers())
		}
		epochs := 0
		for _, list := range db.epochs() {
			epochs += len(list)
		}
		// All of a, half of these to b, a third to c.
		require.LessOrEqual(t, epochs, store.Partitions+store.Partitions/2+store.Partitions/3+1)
		for _, h := range []*hub{a, b, c} {
			h.leave()
		}
	})
}

// A database that takes half a second for each call costs no lease.
func TestASlowDatabaseCostsNoLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		db.slow = 500 * time.Millisecond
		a := db.join(t, "a")
		require.Len(t, a.delivers(), store.Partitions, "taken within the start")
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			require.Len(t, a.delivers(), store.Partitions)
		}
		require.LessOrEqual(t, db.called("renew"), 16, "all are renewed by one call")
		b := db.join(t, "b")
		time.Sleep(10 * time.Second)
		require.NoError(t, even([]*hub{a, b}))
		a.leave()
		b.leave()
	})
}

func TestAHubThatIsCutOffLetsGoBeforeItsLeasesEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a := db.join(t, "a")
		db.mu.Lock()
		a.line.cut = true
		db.mu.Unlock()
		time.Sleep(9 * time.Second)
		require.Len(t, a.delivers(), store.Partitions, "until two seconds before the end")
		time.Sleep(2500 * time.Millisecond)
		require.Empty(t, a.delivers())
		require.InDelta(t, store.Partitions, a.metric(t, "wildcat_partition_leases_total", "ran_out"), 0)
		require.Zero(t, a.metric(t, "wildcat_partitions_owned", ""))
		b := db.join(t, "b")
		time.Sleep(2 * time.Second)
		require.Len(t, b.delivers(), store.Partitions/2, "a is still counted")
		db.mu.Lock()
		a.line.cut = false
		db.mu.Unlock()
		time.Sleep(5 * time.Second)
		require.NoError(t, even([]*hub{a, b}))
		for name, epochs := range db.epochs() {
			require.Equal(t, uint64(len(epochs)), epochs[len(epochs)-1], name)
			require.Len(t, epochs, 2, "taken again under a new epoch")
		}
		a.leave()
		b.leave()
	})
}

// What is under way ends while the lease still keeps others away; what does not end in time
// does not hold up the others.
func TestWhatIsUnderWayEndsBeforeAnotherHubBegins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a := db.join(t, "a")
		a.mu.Lock()
		a.linger = 3 * time.Second
		a.mu.Unlock()
		b := db.join(t, "b")
		for range 200 {
			time.Sleep(50 * time.Millisecond)
			require.NoError(t, disjoint([]*hub{a, b}))
		}
		require.NoError(t, even([]*hub{a, b}))
		b.mu.Lock()
		b.linger = time.Hour
		b.mu.Unlock()
		start := time.Now()
		b.leave()
		require.Less(t, time.Since(start), 6*time.Second)
		time.Sleep(2 * time.Second)
		require.NoError(t, even([]*hub{a}))
		a.leave()
	})
}

// The clock of a process that was stopped has gone on: it does nothing under the old leases.
func TestALeaseThatEndedUnnoticedIsNotRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a := db.join(t, "a")
		// As after SIGSTOP and SIGCONT: what it knows is old.
		a.Keeper.mu.Lock()
		for p, ten := range a.held {
			ten.end = time.Now().Add(-time.Second)
			a.held[p] = ten
		}
		a.Keeper.mu.Unlock()
		require.Empty(t, a.delivers())
		require.Equal(t, time.Now(), a.renewAll(t.Context(), time.Time{}))
		require.Zero(t, db.called("renew"))
		time.Sleep(15 * time.Second)
		require.Len(t, a.delivers(), store.Partitions)
		for _, epochs := range db.epochs() {
			require.Len(t, epochs, 2)
		}
		// A wall clock that was set ahead counts, too: the machine may have slept.
		ten := tenure{lease: store.Lease{Until: time.Now().Add(-time.Second)}, end: time.Now().Add(time.Minute)}
		require.False(t, ten.lasts(time.Now(), 0))
		a.leave()
	})
}

func TestWhatAnotherHubHasTakenIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a := db.join(t, "a")
		name := store.PartitionLease(5)
		db.mu.Lock()
		db.rows[name] = store.Lease{Name: name, Owner: "thief", Epoch: 9, Until: time.Now().Add(time.Hour)}
		db.mu.Unlock()
		time.Sleep(6 * time.Second)
		require.Len(t, a.delivers(), store.Partitions-1)
		require.NotContains(t, a.delivers(), 5)
		require.Equal(t, "thief", a.Holder(5))
		require.Equal(t, "a", a.Holder(6))
		held, err := a.Holdings(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{5}, held["thief"])
		require.Len(t, held["a"], store.Partitions-1)
		a.leave()
		require.Empty(t, a.Holder(6))
	})
}

func TestAHubThatIsNotAnnouncedTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		a := db.hub(t, "a")
		require.NoError(t, a.Start(t.Context()))
		time.Sleep(5 * time.Second)
		require.Empty(t, a.delivers())
		db.announce("a", true)
		time.Sleep(2 * time.Second)
		require.Len(t, a.delivers(), store.Partitions)
		a.leave()
		a.Stop() // twice
		db.hub(t, "b").Stop()
	})
}

// Whatever hubs do, no two believe at one time that they hold a partition, epochs only grow, and
// once they are left alone all of them have equal shares.
func TestSharesUnderAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"join", "leave", "die", "cut", "mend", "slow", "fast", "wait", "linger"}), 1, 25).Draw(rt, "steps")
		picks := rapid.SliceOfN(rapid.IntRange(0, 1000), len(steps), len(steps)).Draw(rt, "picks")
		play(t, steps, picks)
	})
}

// Six hubs, of which three had one too many, gave and took the one that another lacked for minutes.
func TestSharesDoNotGoInCircles(t *testing.T) {
	for range 10 {
		play(t, strings.Fields("leave fast join wait mend wait join join cut fast slow cut linger wait linger mend join fast leave cut join linger join"),
			[]int{179, 0, 603, 1, 204, 1, 452, 558, 79, 2, 491, 7, 922, 26, 711, 239, 3, 921, 0, 9, 35, 140, 44})
	}
}

// play has hubs do steps, and checks what must hold all the time and at the end. A pick says which
// hub does it, and for how long it is left at that.
func play(t *testing.T, steps []string, picks []int) {
	bubble(t, func(t *testing.T) {
		db := newLeases()
		all, hubs := []*hub{}, []*hub{}
		join := func() {
			h := db.join(t, fmt.Sprint("hub", len(all)))
			all, hubs = append(all, h), append(hubs, h)
		}
		pass := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(100 * time.Millisecond)
				require.NoError(t, disjoint(hubs), "%v %v", steps, picks)
			}
		}
		join()
		for i, step := range steps {
			n := picks[i] % len(hubs)
			switch {
			case step == "join" && len(hubs) < 6:
				join()
			case (step == "leave" || step == "die") && len(hubs) > 1:
				h := hubs[n]
				hubs = slices.Delete(hubs, n, n+1)
				if step == "leave" && !h.line.cut {
					h.leave()
				} else {
					h.die()
				}
			case step == "linger":
				hubs[n].mu.Lock()
				hubs[n].linger = time.Duration(picks[i]) * 10 * time.Millisecond
				hubs[n].mu.Unlock()
			}
			db.mu.Lock()
			switch step {
			case "cut", "mend":
				hubs[n].line.cut = step == "cut"
			case "slow":
				db.slow = time.Duration(picks[i]) * time.Millisecond / 2
			case "fast":
				db.slow = 0
			}
			db.mu.Unlock()
			pass(time.Duration(picks[i]) * 15 * time.Millisecond)
		}
		db.mu.Lock()
		db.slow = 0
		for _, h := range hubs {
			h.line.cut = false
		}
		db.mu.Unlock()
		pass(takeover)
		require.NoError(t, even(hubs), "%v %v", steps, picks)
		for name, epochs := range db.epochs() {
			require.True(t, slices.IsSorted(epochs) && len(slices.Compact(slices.Clone(epochs))) == len(epochs), name)
		}
		for _, h := range hubs {
			h.leave()
		}
	})
}
