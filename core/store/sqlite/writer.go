package sqlite

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A transaction takes at most so many operations and bytes, so that the log stays
// bounded and nobody waits long for the first of many.
const (
	maxBatch      = 512
	maxBatchBytes = 4 << 20
)

// An operation that is patient may wait so long for one that is not, to share its
// fsync, while those come at least that often: what follows from an event rides along
// with the append of the next one. On a quiet hub nothing waits.
const (
	patience     = 6 * time.Millisecond
	patientBatch = 64
)

// The life of an operation. Whoever moves it away from queued owns what follows: the
// writer runs it, or the caller whose context ended walks away.
const (
	opQueued int32 = iota
	opRunning
	opAbandoned
)

type op struct {
	fn      func(*tx) error
	size    int
	patient bool
	queued  time.Time
	state   atomic.Int32
	err     error
	done    chan struct{}
}

// writer lets one goroutine at a time write, and keeps what waits meanwhile. A caller that
// finds nobody writing does it itself, with whatever else waits: handing a single append to
// another goroutine and back would cost as much as a third of its fsync. Everything else is
// written by a goroutine of the writer's own.
type writer struct {
	t       *tx
	metrics *metrics

	mu     sync.Mutex
	queue  []*op
	urgent int           // operations in queue that are not patient
	last   time.Time     // when the last one of these came
	gap    time.Duration // between them, a moving mean
	closed bool
	busy   bool          // someone writes: whoever set it owns t and batch
	wake   chan struct{} // holds one token while the queue may be non-empty or closed

	batch   []*op
	stopped chan struct{}
}

func startWriter(t *tx, m *metrics) *writer {
	w := &writer{t: t, metrics: m, gap: 10 * patience, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go w.run()
	return w
}

// submit queues fn and waits until it is durable, has failed, or ctx has ended
// before it was begun.
func (w *writer) submit(ctx context.Context, size int, patient bool, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{fn: fn, size: size, patient: patient, queued: time.Now(), done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errClosed
	}
	w.queue = append(w.queue, o)
	if !patient {
		w.urgent++
		w.gap += (min(o.queued.Sub(w.last), 10*patience) - w.gap) / 8
		w.last = o.queued
	}
	lead := !patient && !w.busy
	w.busy = w.busy || lead
	// The writer's goroutine knows of the first patient operation, and waits for company.
	tell := !lead && (!patient || len(w.queue) == 1 || len(w.queue) >= patientBatch)
	w.mu.Unlock()
	if lead {
		w.flush()
	} else if tell {
		w.poke()
	}

	select {
	case <-o.done:
	case <-ctx.Done():
		if o.state.CompareAndSwap(opQueued, opAbandoned) {
			return ctx.Err()
		}
		<-o.done // it is being written: its outcome is known within a moment
	}
	return o.err
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// drain refuses new operations, finishes those that were accepted and stops.
func (w *writer) drain() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.poke()
	<-w.stopped
	return nil
}

func (w *writer) run() {
	defer close(w.stopped)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if wait := w.wait(); wait > 0 {
			timer.Reset(wait)
			select {
			case <-w.wake:
			case <-timer.C:
			}
			continue
		}
		if w.seize() {
			wrote, open := w.flush()
			if wrote {
				// Lets those whose outcome was just told queue their next operation, where
				// there are any: it is no wait, but makes the next batch a whole one.
				runtime.Gosched()
				continue
			}
			if !open {
				return
			}
		}
		<-w.wake
	}
}

// seize makes the caller the one who writes, unless there is one, who pokes when it is done.
func (w *writer) seize() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy {
		return false
	}
	w.busy = true
	return true
}

// flush writes one batch of what is queued and lets the next one write. The caller has seized
// the writer.
func (w *writer) flush() (wrote, open bool) {
	w.batch, open = w.take(w.batch[:0])
	wrote = len(w.batch) > 0
	if wrote {
		w.guarded(w.batch)
		clear(w.batch)
	}
	w.mu.Lock()
	w.busy = false
	more := len(w.queue) > 0 || w.closed
	w.mu.Unlock()
	if more {
		w.poke()
	}
	return wrote, open
}

// guarded writes a batch. A panic in it leaves a transaction half done, and may be on a
// goroutine of a caller that recovers: it has to end the process all the same.
func (w *writer) guarded(batch []*op) {
	defer func() {
		if r := recover(); r != nil {
			go panic(fmt.Sprintf("store: write: %v\n%s", r, debug.Stack()))
			select {}
		}
	}()
	w.write(batch)
}

// wait says how long the queue, if all of it is patient, may wait for company.
func (w *writer) wait() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.queue); n == 0 || n >= patientBatch || w.urgent > 0 || w.closed || w.gap > patience {
		return 0
	}
	return patience - time.Since(w.queue[0].queued)
}

// take moves queued operations into batch, without waiting for any.
func (w *writer) take(batch []*op) (_ []*op, open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	bytes, n := 0, 0
	for _, o := range w.queue {
		if n == maxBatch || (n > 0 && bytes+o.size > maxBatchBytes) {
			break
		}
		n++
		bytes += o.size
		if !o.patient {
			w.urgent--
		}
		if o.state.CompareAndSwap(opQueued, opRunning) {
			batch = append(batch, o)
		}
	}
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	if len(batch) == 0 && rest > 0 {
		w.poke() // all of these were abandoned, and there is more
	}
	return batch, !w.closed || rest > 0
}

// write runs the batch in one transaction; if that cannot be committed as a whole, each
// operation gets a transaction of its own, so that only the guilty one fails.
func (w *writer) write(batch []*op) {
	start := time.Now()
	if !w.together(batch) {
		for _, o := range batch {
			o.err = w.t.immediate(func() error { return o.fn(w.t) })
		}
	}
	w.metrics.flushed(len(batch), time.Since(start))
	for _, o := range batch {
		close(o.done)
	}
}

// together tries the whole batch at once and tells whether the operations have their outcome.
func (w *writer) together(batch []*op) bool {
	if err := w.t.begin(); err != nil {
		// The database cannot be written now; trying one by one would only wait longer.
		for _, o := range batch {
			o.err = err
		}
		return true
	}
	for _, o := range batch {
		w.t.dirty = false
		o.err = o.fn(w.t)
		if w.t.broken || (o.err != nil && w.t.dirty) {
			w.t.rollback()
			// Alone in its transaction, it has nothing to be told apart from.
			return len(batch) == 1 && o.err != nil
		}
	}
	if err := w.t.commit(); err != nil {
		if len(batch) == 1 && batch[0].err == nil {
			batch[0].err = err
			return true
		}
		return false
	}
	return true
}
