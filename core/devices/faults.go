package devices

import (
	"errors"
	"maps"
	"sync"
)

// ErrInjected is what a test's fault fails with.
var ErrInjected = errors.New("injected fault")

// Faults counts the calls of a store's methods and fails chosen ones, for tests. The
// zero value fails none; safe for concurrent use.
type Faults struct {
	mu    sync.Mutex
	calls map[string]int
	fail  map[string]int
	cuts  []int // where the bulks to come are cut
}

// Fail makes the n-th call from now of the method (such as "PutSession") fail; 1 is the next.
func (f *Faults) Fail(method string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.fail = map[string]int{}
	}
	f.fail[method] = f.calls[method] + n
}

// Pending says whether a fault of the method is still to come.
func (f *Faults) Pending(method string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail[method] > f.calls[method]
}

// Calls returns how often each method was called.
func (f *Faults) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.calls)
}

func (f *Faults) hit(method string) error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[method]++
	if f.fail[method] == f.calls[method] {
		return ErrInjected
	}
	return nil
}

// Cut makes the next bulk of writes end before its n-th write, counted from 0, and fail,
// as if the program had died there. Engines that write in transactions have no bulks.
func (f *Faults) Cut(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts = append(f.cuts, n)
}

// Uncut takes back a cut that no bulk has met, and says whether there was one.
func (f *Faults) Uncut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	pending := len(f.cuts) > 0
	f.cuts = nil
	return pending
}

func (f *Faults) cut(writes int) int {
	if f == nil {
		return -1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.cuts) == 0 {
		return -1
	}
	n := min(f.cuts[0], writes)
	f.cuts = f.cuts[1:]
	return n
}
