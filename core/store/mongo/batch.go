package mongo

import (
	"context"
	"sync"
)

// maxBatch is how many operations share their round trips.
const maxBatch = 256

// batcher lets operations that come at the same time share their round trips: it takes
// what is queued at once and never waits for more, so that a lone caller loses nothing.
type batcher[T any] struct {
	run func([]T) (after func())

	mu      sync.Mutex
	queue   []*queued[T]
	closed  bool
	wake    chan struct{} // holds one token while there is something to look at
	stopped chan struct{}
}

type queued[T any] struct {
	op   T
	done chan struct{}
	gone bool // guarded by batcher.mu: its caller's context ended before it was begun
}

// startBatcher runs run, one batch at a time, until drain. run leaves each operation's
// outcome in the operation, and may return what is to be done once the callers know.
func startBatcher[T any](run func([]T) (after func())) *batcher[T] {
	b := &batcher[T]{run: run, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go b.loop()
	return b
}

// submit waits until op has its outcome. If ctx ends first the operation may still
// happen, and must not be touched again.
func (b *batcher[T]) submit(ctx context.Context, op T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q := &queued[T]{op: op, done: make(chan struct{})}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return errClosed
	}
	b.queue = append(b.queue, q)
	b.mu.Unlock()
	b.poke()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		b.mu.Lock()
		q.gone = true
		b.mu.Unlock()
		return ctx.Err()
	}
}

func (b *batcher[T]) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *batcher[T]) loop() {
	defer close(b.stopped)
	for {
		batch, open := b.take()
		if len(batch) == 0 {
			if !open {
				return
			}
			<-b.wake
			continue
		}
		ops := make([]T, len(batch))
		for i, q := range batch {
			ops[i] = q.op
		}
		after := b.run(ops)
		for _, q := range batch {
			close(q.done)
		}
		if after != nil {
			after()
		}
	}
}

func (b *batcher[T]) take() (batch []*queued[T], open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.queue), maxBatch)
	for _, q := range b.queue[:n] {
		if !q.gone {
			batch = append(batch, q)
		}
	}
	rest := copy(b.queue, b.queue[n:])
	clear(b.queue[rest:])
	b.queue = b.queue[:rest]
	return batch, !b.closed || rest > 0
}

// drain refuses new operations, finishes those that were accepted, and stops.
func (b *batcher[T]) drain() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.poke()
	<-b.stopped
}
