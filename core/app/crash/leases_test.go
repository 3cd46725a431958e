package crash

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// journal keeps of a hub's log what it says about leases and connections. One is a hub's life:
// a process from its start to its end.
type journal struct {
	mu    sync.Mutex
	lines []line
	tail  bytes.Buffer
	// ended is when the process was seen to have ended; zero while it runs.
	ended time.Time
}

// line is a line of the log.
type line struct {
	Time    time.Time `json:"time"`
	Msg     string    `json:"msg"`
	Account string    `json:"account"`
	Epoch   uint64    `json:"epoch"`
	Until   time.Time `json:"until"`
	State   string    `json:"state"`
	// A partition of deliveries has leases as an account has them, see flat.
	Partition  *int  `json:"partition"`
	Partitions []int `json:"partitions"`
}

// flat are the lines about what has a lease, one each: a partition is an account named
// "partition/07".
func (l line) flat() []line {
	switch l.Msg {
	case msgTaken, msgRenewed, msgGone, msgChanged:
		return []line{l}
	case msgPartTaken, msgPartGone:
		if l.Partition == nil {
			return nil
		}
		l.Partitions = []int{*l.Partition}
	case msgPartsRenewed:
	default:
		return nil
	}
	one := line{Time: l.Time, Epoch: l.Epoch, Until: l.Until, Msg: map[string]string{
		msgPartTaken: msgTaken, msgPartGone: msgGone, msgPartsRenewed: msgRenewed,
	}[l.Msg]}
	var out []line
	for _, p := range l.Partitions {
		one.Account = store.PartitionLease(p)
		out = append(out, one)
	}
	return out
}

// ofAccounts leaves out what was said of partitions.
func ofAccounts(lines []line) []line {
	return slices.DeleteFunc(lines, func(l line) bool { return strings.HasPrefix(l.Account, store.PartitionLeases) })
}

// connects says that the process makes a connection, or has one.
func (l line) connects() bool {
	return l.Msg == msgChanged && (l.State == "connecting" || l.State == "connected")
}

const (
	msgTaken   = "account is taken"
	msgRenewed = "account's lease is renewed"
	msgGone    = "account is let go"
	msgChanged = "account changed"

	msgPartTaken    = "partition is taken"
	msgPartsRenewed = "partitions' leases are renewed"
	msgPartGone     = "partition is let go"
)

// Write takes one line at a time.
func (j *journal) Write(b []byte) (int, error) {
	var l line
	if (bytes.Contains(b, []byte(`"account`)) || bytes.Contains(b, []byte(`"partition`))) && json.Unmarshal(b, &l) != nil {
		l = line{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, l.flat()...)
	if j.tail.Len() > 4<<20 {
		j.tail.Reset()
	}
	return j.tail.Write(b)
}

// end notes that the process has ended.
func (j *journal) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended.IsZero() {
		j.ended = time.Now()
	}
}

// since returns the lines from a moment on.
func (j *journal) since(at time.Time) []line {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []line
	for _, l := range j.lines {
		if l.Time.After(at) {
			out = append(out, l)
		}
	}
	return out
}

// tenure is a time in which a process believed that it holds an account.
type tenure struct {
	life    int    // which process
	account string // or the name of a partition's lease
	epoch   uint64
	// asked is when the lease was asked for: the process may have believed from then on. known
	// is when it surely had it.
	asked, known time.Time
	// until is when it ceased to believe: it said so (gone), it died, or the lease ran out by
	// its own clock, whichever came first.
	until time.Time
	gone  bool
}

// slack is how exact the times are: leases are kept in whole milliseconds.
const slack = 2 * time.Millisecond

// tenures reads the journals; ttl is how long a lease lasts.
func tenures(lives []*journal, ttl time.Duration) ([]tenure, error) {
	var all []tenure
	for life, j := range lives {
		j.mu.Lock()
		mine := map[string]*tenure{}
		var bad error
		for _, l := range j.lines {
			t := mine[l.Account]
			switch {
			case l.Msg == msgTaken && t != nil && t.epoch == l.Epoch: // asked for again, which prolongs it
				t.until = l.Until
			case l.Msg == msgTaken:
				if t != nil && t.until.After(l.Time) {
					bad = fmt.Errorf("process %d took %s twice", life, l.Account)
				}
				if t != nil {
					all = append(all, *t)
				}
				mine[l.Account] = &tenure{
					life: life, account: l.Account, epoch: l.Epoch, asked: l.Until.Add(-ttl), known: l.Time, until: l.Until,
				}
			case t == nil || t.epoch != l.Epoch && l.Epoch != 0: // partitions are renewed together, whatever their epochs
			case l.Msg == msgRenewed && t.gone: // what was renewed is told of later than what is let go
			case l.Msg == msgRenewed:
				t.until = l.Until
			case l.Msg == msgGone:
				if t.gone = true; l.Time.Before(t.until) {
					t.until = l.Time
				}
			}
		}
		for _, t := range mine {
			if !j.ended.IsZero() && j.ended.Before(t.until) {
				t.until = j.ended
			}
			all = append(all, *t)
		}
		j.mu.Unlock()
		if bad != nil {
			return nil, bad
		}
	}
	slices.SortFunc(all, func(a, b tenure) int {
		return cmp.Or(cmp.Compare(a.account, b.account), a.asked.Compare(b.asked))
	})
	return all, nil
}

// checkTenures: no two processes believed at one time that they hold an account, no epoch was
// given out twice, and who connected held the account.
func checkTenures(lives []*journal, ttl time.Duration) ([]tenure, error) {
	all, err := tenures(lives, ttl)
	if err != nil {
		return nil, err
	}
	for i := range all[1:] {
		a, b := all[i], all[i+1]
		switch {
		case a.account != b.account:
		case b.epoch <= a.epoch:
			return nil, fmt.Errorf("%s: epoch %d was taken after epoch %d", a.account, b.epoch, a.epoch)
		case a.until.Sub(b.asked) > slack:
			return nil, fmt.Errorf("%s: process %d held it until %s (epoch %d), and process %d from %s on (epoch %d)",
				a.account, a.life, clock(a.until), a.epoch, b.life, clock(b.asked), b.epoch)
		}
	}
	for life, j := range lives {
		for _, l := range j.since(time.Time{}) {
			if !l.connects() {
				continue
			}
			held := slices.ContainsFunc(all, func(t tenure) bool {
				return t.life == life && t.account == l.Account && !t.asked.After(l.Time) && !l.Time.After(t.until.Add(slack))
			})
			if !held {
				return nil, fmt.Errorf("account %s: process %d was %s at %s and did not hold it%s", l.Account, life, l.State, clock(l.Time), spans(all, l.Account))
			}
		}
	}
	return all, nil
}

// spans tells who held an account when, for a message.
func spans(all []tenure, account string) string {
	var text strings.Builder
	for _, t := range all {
		if t.account == account {
			fmt.Fprintf(&text, "\n  process %d, epoch %d: asked %s, known %s, until %s", t.life, t.epoch, clock(t.asked), clock(t.known), clock(t.until))
		}
	}
	return text.String()
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// written is something in the database that was written under an epoch.
type written struct {
	account string
	epoch   uint64
	// at is when its writer began: it was stored between then and the moment of reading.
	at   time.Time
	what string
}

// op is what porcupine orders: to take an account under an epoch, or to write under one.
type op struct {
	take  bool
	epoch uint64
	what  string
}

// register is an account: its lease goes up from epoch to epoch, and it is written under the
// newest only. What an older one wrote must have come before the newer one was taken.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, _ any) (bool, any) {
			newest, o := state.(uint64), input.(op)
			if o.take {
				return o.epoch > newest, o.epoch
			}
			return o.epoch == newest, newest
		},
	}
}

// checkWrites: for each account there is one order, in agreement with the clock, of all takings
// and writes, in which each write was made under the epoch taken last.
func checkWrites(all []tenure, rows []written, read time.Time) error {
	history := map[string][]porcupine.Operation{}
	for _, t := range all {
		history[t.account] = append(history[t.account], porcupine.Operation{
			ClientId: t.life, Input: op{take: true, epoch: t.epoch, what: "taken"}, Call: t.asked.UnixNano(), Return: t.known.UnixNano(),
		})
	}
	for _, w := range newest(rows) {
		history[w.account] = append(history[w.account], porcupine.Operation{
			Input: op{epoch: w.epoch, what: w.what}, Call: w.at.Add(-slack).UnixNano(), Return: read.UnixNano(),
		})
	}
	for account, ops := range history {
		switch porcupine.CheckOperationsTimeout(register(), ops, 10*time.Second) {
		case porcupine.Ok:
		case porcupine.Illegal:
			return fmt.Errorf("%s was written under a lease that another had taken over%s%s", account, late(all, rows), story(ops))
		default:
			return fmt.Errorf("%s: no order of %d operations was found in time%s", account, len(ops), late(all, rows))
		}
	}
	return nil
}

// newest are, of an account's writes under one epoch, the one that began last: where it has its
// place, all before it have.
func newest(rows []written) []written {
	type key struct {
		account string
		epoch   uint64
	}
	last := map[key]written{}
	for _, w := range rows {
		k := key{w.account, w.epoch}
		if l, ok := last[k]; !ok || w.at.After(l.at) {
			last[k] = w
		}
	}
	return slices.Collect(maps.Values(last))
}

// late names a write that began when a later epoch had surely been taken: with many operations
// it is the message that is of use.
func late(all []tenure, rows []written) string {
	for _, w := range newest(rows) {
		for _, t := range all {
			if t.account == w.account && t.epoch > w.epoch && w.at.Add(-slack).After(t.known) {
				return fmt.Sprintf(": %s under epoch %d at %s, epoch %d was taken at %s", w.what, w.epoch, clock(w.at), t.epoch, clock(t.known))
			}
		}
	}
	return ""
}

// story tells a history, for a message.
func story(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text bytes.Buffer
	for _, o := range ops {
		in := o.Input.(op)
		fmt.Fprintf(&text, "\n  %s epoch %d: %s", clock(time.Unix(0, o.Call)), in.epoch, in.what)
	}
	return text.String()
}

// life is a journal for the tests below.
func life(t *testing.T, lines ...line) *journal {
	j := &journal{}
	for _, l := range lines {
		b, err := json.Marshal(l)
		require.NoError(t, err)
		_, err = j.Write(b)
		require.NoError(t, err)
	}
	return j
}

func TestTheLeaseCheckSeesWhatIsWrong(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	const ttl = 3 * time.Second
	taken := func(ms int, epoch uint64) line {
		return line{Time: at(ms + 5), Msg: msgTaken, Account: "a", Epoch: epoch, Until: at(ms).Add(ttl)}
	}
	renewed := func(ms int, epoch uint64) line {
		return line{Time: at(ms + 5), Msg: msgRenewed, Account: "a", Epoch: epoch, Until: at(ms).Add(ttl)}
	}
	gone := func(ms int, epoch uint64) line { return line{Time: at(ms), Msg: msgGone, Account: "a", Epoch: epoch} }
	connected := func(ms int) line { return line{Time: at(ms), Msg: msgChanged, Account: "a", State: "connected"} }
	write := func(ms int, epoch uint64) written {
		return written{account: "a", epoch: epoch, at: at(ms), what: "event"}
	}
	check := func(rows []written, lives ...*journal) error {
		all, err := checkTenures(lives, ttl)
		return errors.Join(err, checkWrites(all, rows, at(60_000)))
	}
	died := life(t, taken(0, 1), connected(20))
	died.ended = at(1000)

	good := []written{write(10, 1), write(3000, 1), write(4001, 2), write(5000, 2)}
	// Let go and taken; run out and taken; died and taken.
	require.NoError(t, check(good, life(t, taken(0, 1), connected(20), renewed(1000, 1), gone(3500, 1)), life(t, taken(4000, 2), connected(4100))))
	require.NoError(t, check(good, life(t, taken(0, 1), connected(20), gone(30_000, 1)), life(t, taken(4000, 2))))
	require.NoError(t, check(good[:1], died, life(t, taken(1001, 2))))

	require.ErrorContains(t, check(nil, life(t, taken(0, 1), renewed(2000, 1)), life(t, taken(4000, 2))), "held it until")
	require.ErrorContains(t, check(nil, life(t, taken(0, 1)), life(t, taken(1000, 2))), "held it until")
	require.ErrorContains(t, check(nil, life(t, taken(0, 2), gone(10, 2)), life(t, taken(1000, 2))), "epoch 2 was taken after epoch 2")
	require.ErrorContains(t, check(nil, life(t, taken(0, 1), gone(1000, 1), connected(2000))), "did not hold it")
	require.ErrorContains(t, check(nil, life(t, taken(0, 1), taken(100, 2))), "twice")
	require.ErrorContains(t, check([]written{write(4050, 1)}, life(t, taken(0, 1)), life(t, taken(4000, 2))), "another had taken over")
	require.ErrorContains(t, check([]written{write(100, 3)}, life(t, taken(0, 1))), "another had taken over", "nobody took that epoch")

	// The same of partitions, whose renewals are told together.
	seven := 7
	part := func(l line, msg string) line {
		l.Msg, l.Account, l.Partition = msg, "", &seven
		return l
	}
	both := line{Time: at(2005), Msg: msgPartsRenewed, Partitions: []int{3, 7}, Until: at(2000).Add(ttl)}
	outcome := func(ms int, epoch uint64) []written {
		return []written{{account: "partition/07", epoch: epoch, at: at(ms), what: "delivery"}}
	}
	mine, other := part(taken(0, 1), msgPartTaken), part(taken(4000, 2), msgPartTaken)
	require.NoError(t, check(outcome(3500, 1), life(t, mine, both, part(gone(3900, 1), msgPartGone), both), life(t, other)))
	require.ErrorContains(t, check(nil, life(t, mine, both), life(t, other)), "partition/07: process 0 held it until")
	require.ErrorContains(t, check(outcome(4050, 1), life(t, mine), life(t, other)), "partition/07 was written under a lease that another had taken over")
}
