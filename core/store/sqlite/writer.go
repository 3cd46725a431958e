package sqlite

import (
	"context"
	"runtime"
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

// writer is the one goroutine that writes, with its queue.
type writer struct {
	t       *tx
	metrics *metrics

	mu     sync.Mutex
	queue  []*op
	urgent int           // operations in queue that are not patient
	last   time.Time     // when the last one of these came
	gap    time.Duration // between them, a moving mean
	closed bool
	wake   chan struct{} // holds one token while the queue may be non-empty or closed

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
	w.mu.Unlock()
	w.poke()

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
	var batch []*op
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
		var open bool
		batch, open = w.take(batch[:0])
		if len(batch) > 0 {
			w.write(batch)
			// Lets those whose outcome was just told queue their next operation, where
			// there are any: it is no wait, but makes the next batch a whole one.
			runtime.Gosched()
			continue
		}
		if !open {
			return
		}
		<-w.wake
	}
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
