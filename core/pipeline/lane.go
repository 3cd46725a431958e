package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	// laneWindow is how many events of a chat wait in memory; the rest waits in the store.
	laneWindow = 64
	// laneTurn is how many events of a chat a worker settles before the next chat's turn.
	laneTurn = 16
	retryMin = 100 * time.Millisecond
	// retryMax bounds how long after an outage what it held up goes on.
	retryMax = 2 * time.Second
)

// lane is the queue of one chat. Its events are settled one after the other.
type lane struct {
	ref   store.ChatRef
	queue []store.StoredEvent
	// spilled: the store may hold unfinished events that are not in queue.
	spilled bool
	// done is the seq of the last event settled here; lower ones are skipped.
	done uint64
	// active: a worker has it, or it is in ready, or a timer will put it there.
	active bool
	wait   time.Duration
}

// lanes schedules lanes onto workers. Every chat has at most one worker at a time.
type lanes struct {
	pipe    *Pipeline
	workers int

	mu      sync.Mutex
	wake    *sync.Cond
	byChat  map[store.ChatRef]*lane
	ready   []*lane
	timers  map[*lane]*time.Timer
	stopped bool
	wg      sync.WaitGroup
	cancel  context.CancelFunc
}

func newLanes(p *Pipeline, workers int) *lanes {
	l := &lanes{pipe: p, workers: workers, byChat: make(map[store.ChatRef]*lane), timers: make(map[*lane]*time.Timer)}
	l.wake = sync.NewCond(&l.mu)
	return l
}

func (l *lanes) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	l.cancel = cancel
	l.mu.Unlock()
	for range l.workers {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for {
				ln := l.take()
				if ln == nil {
					return
				}
				l.run(ctx, ln)
			}
		}()
	}
}

func (l *lanes) stop(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	for _, t := range l.timers {
		t.Stop()
	}
	cancel := l.cancel
	l.wake.Broadcast()
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		if cancel != nil {
			cancel()
		}
		return nil
	case <-ctx.Done():
	}
	// What is under way is interrupted; it is stored and resumes at the next start.
	if cancel != nil {
		cancel()
	}
	<-done
	return ctx.Err()
}

func (l *lanes) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byChat)
}

// get returns the chat's lane, making it if there is none. l.mu is held.
func (l *lanes) get(ref store.ChatRef) *lane {
	ln := l.byChat[ref]
	if ln == nil {
		ln = &lane{ref: ref}
		l.byChat[ref] = ln
	}
	return ln
}

// activate gives a lane its turn. l.mu is held.
func (l *lanes) activate(ln *lane) {
	if ln.active {
		return
	}
	ln.active = true
	l.ready = append(l.ready, ln)
	l.wake.Signal()
}

// push queues a new event. The caller holds the chat's append lock, so events come in order of seq.
func (l *lanes) push(ref store.ChatRef, ev *sdk.Event, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.get(ref)
	if ln.spilled || len(ln.queue) >= laneWindow {
		ln.spilled = true
	} else {
		ln.queue = append(ln.queue, store.StoredEvent{Event: ev, Stage: store.StageStored, Epoch: epoch, StoredAt: l.pipe.deps.Now()})
	}
	l.activate(ln)
}

// poke has the lane look into the store for unfinished events.
func (l *lanes) poke(ref store.ChatRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.get(ref)
	ln.spilled = true
	l.activate(ln)
}

// forget empties an account's lanes. One that a worker has goes when it finds no more.
func (l *lanes) forget(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, ln := range l.byChat {
		if ref.Account != account {
			continue
		}
		ln.queue, ln.spilled = nil, false
		if !ln.active {
			delete(l.byChat, ref)
		}
	}
}

// take waits for a lane that has its turn; nil ends the worker.
func (l *lanes) take() *lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ready) == 0 && !l.stopped {
		l.wake.Wait()
	}
	if l.stopped {
		return nil
	}
	ln := l.ready[0]
	l.ready = l.ready[1:]
	return ln
}

// run settles up to laneTurn events of a lane and then gives the turn away.
func (l *lanes) run(ctx context.Context, ln *lane) {
	for range laneTurn {
		se, ok, err := l.next(ctx, ln)
		if err == nil && !ok {
			return
		}
		if err == nil {
			err = l.pipe.settle(ctx, se)
		}
		if err != nil && !l.drop(ln, se, err) {
			l.backOff(ln, se, ok)
			return
		}
		l.mu.Lock()
		ln.wait = 0
		if ok {
			ln.done = max(ln.done, se.Event.Seq)
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	ln.active = false
	l.activate(ln)
	l.mu.Unlock()
}

// next returns the chat's lowest unfinished event, or false after letting the lane go.
func (l *lanes) next(ctx context.Context, ln *lane) (store.StoredEvent, bool, error) {
	l.mu.Lock()
	for {
		if l.stopped {
			l.mu.Unlock()
			return store.StoredEvent{}, false, nil
		}
		// What was poked may lie before what is queued: the store knows the order.
		if ln.spilled && (len(ln.queue) == 0 || ln.queue[0].Event.Seq != ln.done+1) {
			ln.spilled = false
			after := ln.done
			l.mu.Unlock()
			page, err := l.pipe.deps.Store.UnfinishedEvents(ctx, ln.ref, after, laneWindow)
			l.mu.Lock()
			if err != nil {
				ln.spilled = true
				l.mu.Unlock()
				return store.StoredEvent{}, false, err
			}
			if len(page) == laneWindow {
				ln.spilled = true
			}
			ln.queue = merge(page, ln.queue)
			if len(ln.queue) > laneWindow {
				ln.queue, ln.spilled = ln.queue[:laneWindow], true
			}
		}
		if len(ln.queue) == 0 {
			if ln.spilled {
				continue
			}
			ln.active = false
			delete(l.byChat, ln.ref)
			l.mu.Unlock()
			return store.StoredEvent{}, false, nil
		}
		se := ln.queue[0]
		ln.queue = ln.queue[1:]
		if se.Event.Seq <= ln.done {
			continue
		}
		l.mu.Unlock()
		return se, true, nil
	}
}

// merge joins two lists that are in order of seq.
func merge(a, b []store.StoredEvent) []store.StoredEvent {
	out := make([]store.StoredEvent, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch sa, sb := a[0].Event.Seq, b[0].Event.Seq; {
		case sa < sb:
			out, a = append(out, a[0]), a[1:]
		case sa > sb:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// drop says whether an event that cannot be settled is to be left behind.
func (l *lanes) drop(ln *lane, se store.StoredEvent, err error) bool {
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrStale) && !errors.Is(err, ErrNotOwned) {
		return false
	}
	if se.Event != nil {
		l.pipe.plans.drop(se.Event.ID)
		l.pipe.log.Info("event left alone", "account", ln.ref.Account, "event_id", se.Event.ID, "err", err)
	}
	return true
}

// backOff puts the event back and gives the lane its next turn later.
func (l *lanes) backOff(ln *lane, se store.StoredEvent, have bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have {
		ln.queue = append([]store.StoredEvent{se}, ln.queue...)
	}
	if l.stopped {
		return
	}
	ln.wait = min(max(2*ln.wait, retryMin), retryMax)
	wait := time.Duration(float64(ln.wait) * (0.5 + l.pipe.deps.Rand()))
	l.timers[ln] = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.timers, ln)
		if !l.stopped {
			l.ready = append(l.ready, ln)
			l.wake.Signal()
		}
	})
}
