package deliver

import (
	"container/heap"
	"slices"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	// laneWindow is how many deliveries of a lane that still keep its order are held
	// in memory; the rest stays in the store until there is room.
	laneWindow = 64
	// laneLow is when the next ones are fetched.
	laneLow = 16
	// stepAfter is how many attempts a failing delivery may hold up its lane.
	stepAfter = 6
	// never is a step limit that no delivery reaches.
	never = int(^uint(0) >> 1)
)

// item is a delivery in memory: the part of the record that scheduling needs.
type item struct {
	id, eventID string
	seq, prev   uint64
	generation  int
	attempt     int
	stepped     bool
	due         time.Time
	created     time.Time

	// kind and same count how often in a row the same failure came, for Result.Limit.
	kind string
	same int

	// event came with Enqueue; nil means that it is to be read. size is its share of
	// the memory budget.
	event *sdk.Event
	size  int

	flying   bool // an attempt is under way
	flushing bool // an outcome is not durable yet: the next attempt waits for it
	cancel   func()
}

// place is where a lane waits.
type place uint8

const (
	nowhere place = iota
	inReady
	inWaiting
)

// lane is the queue of one endpoint and one chat. It is guarded by Outbox.mu.
type lane struct {
	ref       store.LaneRef
	partition int // while shared
	ep        *endpoint
	items     []*item // by seq

	// top is the highest seq ever taken into memory. The store is only read above
	// it: below it, a row may still say queued although its outcome is on its way.
	top uint64
	// more says that the store may have queued deliveries above top.
	more bool
	// again says that one was left to the store while a read was under way, which
	// may have been too early to see it.
	again   bool
	loading bool
	// stale says, while shared, that what memory knows of the lane has turned out wrong: nothing
	// of it is begun until what is under way has ended and it was read anew.
	stale bool

	flying    int
	unflushed int

	// touched is the scan since whose beginning something happened here, and listed the last
	// one that found the lane in the store.
	touched, listed uint64

	where place
	index int // in endpoint.waiting
	due   time.Time
}

// next returns the delivery to attempt now, or else when there will be one (zero: not
// before something changes). Stepped deliveries do not hold up those behind them.
func (l *lane) next(now time.Time, ordering config.Ordering) (*item, time.Time) {
	if l.stale || l.flying > 0 && ordering != config.OrderingNone {
		return nil, time.Time{}
	}
	var at time.Time
	for _, it := range l.items {
		switch {
		case it.flying || it.flushing:
		case !it.due.After(now):
			return it, time.Time{}
		case at.IsZero() || it.due.Before(at):
			at = it.due
		}
		aside := it.stepped && ordering != config.OrderingStrict
		if !aside && ordering != config.OrderingNone {
			break
		}
	}
	return nil, at
}

// open reports whether nothing in memory holds up what the store may have of the lane, and
// there is room for it.
func (l *lane) open(ordering config.Ordering) bool {
	switch ordering {
	case config.OrderingStrict:
		return len(l.items) == 0
	case config.OrderingNone:
		return l.fresh() <= laneLow
	default:
		return l.fresh() == 0
	}
}

// ordered reports whether everything before it in the chat has finished.
func (l *lane) ordered(it *item) bool {
	return !it.stepped && (len(l.items) == 0 || l.items[0].seq >= it.seq)
}

// fresh counts the deliveries that keep the lane's order.
func (l *lane) fresh() int {
	n := 0
	for _, it := range l.items {
		if !it.stepped {
			n++
		}
	}
	return n
}

// insert puts it in its place by seq; false if it is there already.
func (l *lane) insert(it *item) bool {
	i, found := slices.BinarySearchFunc(l.items, it.seq, func(a *item, seq uint64) int {
		switch {
		case a.seq < seq:
			return -1
		case a.seq > seq:
			return 1
		}
		return 0
	})
	if found {
		return false
	}
	l.items = slices.Insert(l.items, i, it)
	l.top = max(l.top, it.seq)
	return true
}

func (l *lane) remove(it *item) {
	if i := slices.Index(l.items, it); i >= 0 {
		l.items = slices.Delete(l.items, i, i+1)
	}
}

// idle reports that nothing is known of the lane that the store does not know.
func (l *lane) idle() bool {
	return len(l.items) == 0 && !l.more && !l.loading && l.flying == 0 && l.unflushed == 0
}

// quiet reports that nothing of the lane is under way: what the store says of it is all there is.
func (l *lane) quiet() bool { return !l.loading && l.flying == 0 && l.unflushed == 0 }

// waiting is a heap of lanes by when they are due.
type waiting []*lane

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push implements heap.Interface.
func (w *waiting) Push(x any) {
	l := x.(*lane)
	l.index = len(*w)
	*w = append(*w, l)
}

// Pop implements heap.Interface.
func (w *waiting) Pop() any {
	old := *w
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return l
}

var _ heap.Interface = (*waiting)(nil)

func newItem(d *store.Delivery) *item {
	it := &item{
		id: d.ID, eventID: d.EventID, seq: d.Seq, prev: d.Prev,
		generation: d.Generation, attempt: d.Attempt,
		// A replay comes after its successors: it does not hold up what is new.
		stepped: d.Stepped || d.Generation > 0, due: d.Due, created: d.CreatedAt,
	}
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		a := &d.Attempts[i]
		kind := failureKind(a.Code, a.Reason)
		if a.Generation != d.Generation || (it.kind != "" && it.kind != kind) {
			break
		}
		it.kind = kind
		it.same++
	}
	return it
}
