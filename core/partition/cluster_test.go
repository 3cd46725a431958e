package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if raced {
		t.Skip("the race detector of Go 1.26 crashes now and then where many timers end in virtual time")
	}
	synctest.Test(t, test)
}

// leases is a database of leases in memory, which takes its time.
type leases struct {
	mu   sync.Mutex
	rows map[string]store.Lease
	slow time.Duration
	// given are all epochs that were given out, by lease.
	given map[string][]uint64
	calls map[string]int
}

func newLeases() *leases {
	return &leases{rows: map[string]store.Lease{}, given: map[string][]uint64{}, calls: map[string]int{}}
}

// line is a hub's connection to the database. One that is cut fails after a while.
type line struct {
	*leases
	cut bool
}

var errCut = errors.New("cut off")

// begin waits as long as a call takes, and tells whether it gets through.
func (l *line) begin(ctx context.Context, call string) error {
	l.mu.Lock()
	d, cut := l.slow, l.cut
	l.calls[call]++
	l.mu.Unlock()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return ctx.Err()
	}
	if cut {
		return errCut
	}
	return nil
}

func (l *line) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	if err := l.begin(ctx, "acquire"); err != nil {
		return store.Lease{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.rows[name]
	live := have.Owner != "" && time.Now().Before(have.Until)
	if live && have.Owner != owner {
		return store.Lease{}, store.ErrStale
	}
	next := store.Lease{Name: name, Owner: owner, Epoch: have.Epoch, Until: time.Now().Add(ttl).Round(0)}
	if !live {
		next.Epoch++
		l.given[name] = append(l.given[name], next.Epoch)
	}
	l.rows[name] = next
	return next, nil
}

func (l *line) RenewLeases(ctx context.Context, ls []store.Lease, ttl time.Duration) (kept []store.Lease, err error) {
	if err := l.begin(ctx, "renew"); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range ls {
		if have := l.rows[x.Name]; have.Owner == x.Owner && have.Epoch == x.Epoch {
			x.Until = time.Now().Add(ttl).Round(0)
			l.rows[x.Name] = x
			kept = append(kept, x)
		}
	}
	return kept, nil
}

func (l *line) ReleaseLease(ctx context.Context, x store.Lease) error {
	if err := l.begin(ctx, "release"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.rows[x.Name]; have.Owner == x.Owner && have.Epoch == x.Epoch {
		have.Owner, have.Until = "", time.Time{}
		l.rows[x.Name] = have
	}
	return nil
}

func (l *line) ListLeases(ctx context.Context, prefix string) (out []store.Lease, err error) {
	if err := l.begin(ctx, "list"); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.rows)) {
		if x := l.rows[name]; len(name) >= len(prefix) && name[:len(prefix)] == prefix && x.Owner != "" && time.Now().Before(x.Until) {
			out = append(out, x)
		}
	}
	return out, nil
}

// epochs are all that were given out so far, by lease.
func (l *leases) epochs() map[string][]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]uint64{}
	for name, given := range l.given {
		out[name] = slices.Clone(given)
	}
	return out
}

// called is how often a call was made so far.
func (l *leases) called(call string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[call]
}

// announce says that a hub lives, or no longer does.
func (l *leases) announce(name string, lives bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := time.Now().Add(time.Hour)
	if !lives {
		until = time.Time{}
	}
	l.rows[instanceLeases+name] = store.Lease{Name: instanceLeases + name, Owner: name, Until: until}
}

// hub is a keeper and what it was told to do.
type hub struct {
	*Keeper
	name string
	line *line
	reg  *prometheus.Registry

	mu     sync.Mutex
	owned  map[int]uint64
	linger time.Duration // what is under way takes so long to end
}

func (l *leases) hub(t *testing.T, name string) *hub {
	t.Helper()
	h := &hub{name: name, line: &line{leases: l}, reg: prometheus.NewRegistry(), owned: map[int]uint64{}}
	k, err := New(Config{Instance: name}, Deps{Store: h.line, Own: h.own, Disown: h.disown, Registerer: h.reg})
	require.NoError(t, err)
	h.Keeper = k
	t.Cleanup(h.halt) // so that a failure is shown, and not that its bubble does not end
	return h
}

// halt ends what runs.
func (h *hub) halt() {
	h.quit()
	h.loops.Wait()
	h.work.Wait()
}

// metric is the value of a metric of the hub's, with this result if it has any.
func (h *hub) metric(t *testing.T, name, result string) float64 {
	t.Helper()
	families, err := h.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (result == "" || m.GetLabel()[0].GetValue() == result) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %s", name, result)
	return 0
}

func (l *leases) join(t *testing.T, name string) *hub {
	t.Helper()
	h := l.hub(t, name)
	l.announce(name, true)
	require.NoError(t, h.Start(t.Context()))
	return h
}

func (h *hub) own(p int, epoch uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owned[p] = epoch
}

func (h *hub) disown(ctx context.Context, p int) error {
	h.mu.Lock()
	delete(h.owned, p)
	d := h.linger
	h.mu.Unlock()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// delivers are the partitions of which the hub would begin a delivery now.
func (h *hub) delivers() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []int
	for p, epoch := range h.owned {
		if h.Leased(p, epoch) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// believes are the partitions under whose lease the hub would still write something.
func (h *hub) believes() []int {
	var out []int
	h.Keeper.mu.RLock()
	defer h.Keeper.mu.RUnlock()
	for p, t := range h.held {
		if t.lasts(time.Now(), 0) {
			out = append(out, p)
		}
	}
	return out
}

// sign off in an orderly way.
func (h *hub) leave() {
	h.line.announce(h.name, false)
	h.Stop()
}

// die as by SIGKILL: nothing is given back.
func (h *hub) die() {
	h.halt()
	h.line.announce(h.name, false)
}

// disjoint fails if two hubs believe that they hold one partition, once all is done that is to
// be done at this moment: who is asked first may have handed it to the other by then.
func disjoint(hubs []*hub) error {
	synctest.Wait()
	who := map[int]string{}
	for _, h := range hubs {
		for _, p := range h.believes() {
			if other := who[p]; other != "" {
				return fmt.Errorf("partition %d: %s and %s", p, other, h.name)
			}
			who[p] = h.name
		}
	}
	return nil
}

// whole fails unless the hubs have all partitions.
func whole(hubs []*hub) error {
	all := 0
	for _, h := range hubs {
		all += len(h.delivers())
	}
	if all != store.Partitions {
		return fmt.Errorf("%d of %d partitions are held", all, store.Partitions)
	}
	return nil
}

// even fails unless the hubs have all partitions in equal shares.
func even(hubs []*hub) error {
	least, most, all := store.Partitions, 0, 0
	var counts []int
	for _, h := range hubs {
		n := len(h.delivers())
		counts = append(counts, n)
		least, most, all = min(least, n), max(most, n), all+n
	}
	if all != store.Partitions || most-least > 1 {
		return fmt.Errorf("shares are %v", counts)
	}
	return nil
}
