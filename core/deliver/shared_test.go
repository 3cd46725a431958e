package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// pair is two hubs on one store: what either writes for the other it tells it, unless lost.
type pair struct {
	*fakeStore
	hubs  [2]*Outbox
	lost  bool
	owner map[int]int // which has a partition; missing: none
	epoch uint64
	seq   map[string]uint64
	told  sync.WaitGroup
}

func newPair(t *testing.T, c sdk.Connector) *pair {
	t.Helper()
	p := &pair{fakeStore: newFakeStore(), owner: map[int]int{}, seq: map[string]uint64{}}
	for i := range p.hubs {
		var err error
		p.hubs[i], err = New(Config{}, Deps{Store: p.fakeStore, Events: p.fakeStore, Shared: true, Elsewhere: func(_ int, ref store.LaneRef) {
			if !p.lost {
				p.told.Go(func() {
					time.Sleep(20 * time.Millisecond)
					p.hubs[1-i].Nudge([]store.LaneRef{ref})
				})
			}
		}})
		require.NoError(t, err)
		p.hubs[i].AddEndpoint(Endpoint{ID: epA, Connector: c})
		require.NoError(t, p.hubs[i].Start(context.Background()))
	}
	t.Cleanup(func() {
		p.told.Wait()
		for _, o := range p.hubs {
			require.NoError(t, o.Stop(context.Background()))
		}
	})
	return p
}

// move gives a partition to a hub.
func (p *pair) move(t *testing.T, partition, to int) {
	t.Helper()
	if from, held := p.owner[partition]; held {
		require.NoError(t, p.hubs[from].Disown(context.Background(), partition))
	}
	p.epoch++
	p.hubs[to].Own(partition, p.epoch)
	p.owner[partition] = to
}

// write settles the next event of a chat, as the hub that has the account.
func (p *pair) write(account string, chat, hub int) {
	name := fmt.Sprint("chat", chat)
	p.seq[account+name]++
	seq := p.seq[account+name]
	ds, ev := p.settle(time.Now(), account, name, seq, epA)
	ds[0].Prev = seq - 1
	p.hubs[hub].Enqueue(ds, ev)
}

func (p *pair) queued() int { return p.count(epA, store.DeliveryQueued) }

// However accounts and partitions move, and whatever is not told, each chat's order is kept and
// everything is delivered once.
func TestOrderIsKeptHoweverAccountsAndPartitionsMove(t *testing.T) {
	const chats = 4
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 5, 120).Draw(rt, "steps")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable on purpose
			var mu sync.Mutex
			fails := map[string]int{}
			c := connector(4, func(ctx context.Context, d sdk.Delivery) sdk.Result {
				mu.Lock()
				wait, fail := time.Duration(rng.IntN(30))*time.Millisecond, rng.IntN(10) == 0 && fails[d.Event.ID] < 2
				if fail {
					fails[d.Event.ID]++
				}
				mu.Unlock()
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return sdk.Result{Status: sdk.Retry}
				}
				if fail {
					return sdk.Result{Status: sdk.Retry, Limit: 5, Code: 400, Reason: "bad_request"}
				}
				return sdk.Result{Status: sdk.OK}
			})
			p := newPair(t, c)
			account := 0
			for n := range store.Partitions {
				p.move(t, n, n%2)
			}
			written := 0
			for _, s := range steps {
				chat := s % chats
				ref := store.LaneRef{Endpoint: epA, Account: "shop", Chat: fmt.Sprint("chat", chat)}
				switch {
				case s < 60:
					p.write("shop", chat, account)
					written++
				case s < 70:
					account = 1 - account // which forgets nothing: the successor goes on numbering
				case s < 80:
					p.move(t, partitionOf(ref), s%2)
				case s < 85:
					p.lost = !p.lost
				case s < 90: // what one hub was told it may hear again, or of what is not its
					p.hubs[s%2].Nudge([]store.LaneRef{ref})
				case s < 93:
					p.hubs[s%2].Rescan()
				default:
					time.Sleep(time.Duration(s) * time.Millisecond)
				}
			}
			time.Sleep(30 * time.Second)
			require.Zero(t, p.queued())
			oks := c.oks()
			requireOrder(t, oks)
			require.False(t, c.overlap, "two hubs delivered from one chat at a time")
			require.Len(t, oks, written, "each once")
		})
	})
}

// Nobody was told, and memory has something of the lane: it waits for a retry.
func TestWhatAnotherHubWroteIsFoundThoughTheLaneIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		var mu sync.Mutex
		c := connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			mu.Lock()
			defer mu.Unlock()
			if down && d.Event.Seq == 2 {
				return sdk.Result{Status: sdk.Retry, Limit: 100, Code: 400, After: time.Minute}
			}
			return sdk.Result{Status: sdk.OK}
		})
		p := newPair(t, c)
		p.lost = true
		part := partitionOf(store.LaneRef{Account: "a", Chat: "chat1"})
		p.move(t, part, 0)
		p.write("a", 1, 1)
		time.Sleep(3 * time.Second)
		require.Zero(t, p.queued())
		p.write("a", 1, 1) // this one fails, and keeps the lane in memory
		time.Sleep(3 * time.Second)
		require.Equal(t, 1, p.queued())

		// The first one once more, by the hub that does not deliver it: below all that is known.
		_, err := p.hubs[1].Replay(context.Background(), epA+"|a/chat1/1")
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		require.Equal(t, 1, p.queued())
		require.Len(t, c.oks(), 2)

		mu.Lock()
		down = false
		mu.Unlock()
		p.write("a", 1, 1)
		time.Sleep(2 * time.Minute)
		require.Zero(t, p.queued())
	})
}

// An account that another hub deleted leaves nothing in memory by which a later one of the same
// id could be mistaken.
func TestADeletedAccountIsForgottenByTheHubThatDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		failing := true
		c := connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			mu.Lock()
			defer mu.Unlock()
			if failing {
				return sdk.Result{Status: sdk.Retry, Limit: 100, Code: 400, After: time.Hour}
			}
			return sdk.Result{Status: sdk.OK}
		})
		p := newPair(t, c)
		part := partitionOf(store.LaneRef{Account: "a", Chat: "chat1"})
		p.move(t, part, 0)
		for range 5 {
			p.write("a", 1, 1)
		}
		time.Sleep(2 * time.Second)
		lanes, _ := p.hubs[0].inMemory(epA)
		require.Equal(t, 1, lanes)

		p.mu.Lock()
		clear(p.rows)
		clear(p.events)
		p.mu.Unlock()
		clear(p.seq)
		p.hubs[1].ForgetAccount("a")
		mu.Lock()
		failing = false
		mu.Unlock()
		time.Sleep(3 * time.Second)
		lanes, held := p.hubs[0].inMemory(epA)
		require.Zero(t, lanes)
		require.Zero(t, held)
		p.write("a", 1, 1)
		time.Sleep(time.Second)
		require.Zero(t, p.queued())
		require.Len(t, c.oks(), 1)
	})
}

// What was begun under a lease is written under that lease, or not at all.
func TestAnOutcomeBearsTheEpochUnderWhichItWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, free := make(chan struct{}, 10), make(chan struct{})
		c := connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			begun <- struct{}{}
			<-free // deaf to being cancelled
			return sdk.Result{Status: sdk.OK}
		})
		f := newFakeStore()
		epoch := uint64(4)
		o, err := New(Config{}, Deps{Store: f, Events: f, Shared: true, Leased: func(_ int, e uint64) bool { return e == epoch }})
		require.NoError(t, err)
		o.AddEndpoint(Endpoint{ID: epA, Connector: c})
		require.NoError(t, o.Start(context.Background()))
		part := partitionOf(store.LaneRef{Account: "a", Chat: "c"})
		o.Own(part, epoch)
		ds, ev := f.settle(time.Now(), "a", "c", 1, epA)
		o.Enqueue(ds, ev)
		<-begun
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.Error(t, o.Disown(ctx, part), "it does not wait for ever")
		o.mu.Lock()
		epoch = 6 // another had it meanwhile
		o.mu.Unlock()
		o.Own(part, 6)
		close(free)
		time.Sleep(5 * time.Second)
		row := f.row(ds[0].ID)
		require.Equal(t, store.DeliveryOK, row.State, "delivered again, under the lease of now")
		require.EqualValues(t, 6, row.Epoch)
		require.Len(t, c.oks(), 2)
		stop(t, o)
	})
}
