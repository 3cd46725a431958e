package deliver

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
)

const (
	// maxBulk and maxDelay bound how many outcomes are written at once, and how long
	// the first of them waits for company.
	maxBulk  = 256
	maxDelay = 5 * time.Millisecond
)

// finished is an outcome that is not durable yet.
type finished struct {
	f    store.DeliveryFinish
	lane *lane
	ep   *endpoint
	it   *item
}

// flusher writes outcomes in bulks, one bulk at a time and in order, so that two
// outcomes of one delivery cannot overtake each other. ctx asks it to write what
// there is and return; io makes it give up.
func (o *Outbox) flusher(ctx, io context.Context) {
	delay := time.NewTimer(time.Hour)
	defer delay.Stop()
	for {
		select {
		case <-o.flushWake:
		case <-ctx.Done():
		}
		if ctx.Err() == nil && !o.full() {
			delay.Reset(maxDelay)
			select {
			case <-delay.C:
			case <-o.flushWake: // full
			case <-ctx.Done():
			}
		}
		for {
			batch := o.take()
			if len(batch) == 0 {
				break
			}
			missed, ok := o.write(io, batch)
			if !ok {
				return
			}
			o.flushed(batch, missed)
			if len(batch) < maxBulk && ctx.Err() == nil {
				break
			}
		}
		if ctx.Err() != nil {
			return
		}
		o.mu.Lock()
		left := len(o.pending) > 0
		o.mu.Unlock()
		if left {
			poke(o.flushWake)
		}
	}
}

func (o *Outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending) >= maxBulk
}

func (o *Outbox) take() []finished {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.pending), maxBulk)
	batch := o.pending[:n:n]
	o.pending = o.pending[n:]
	if len(o.pending) == 0 {
		o.pending = nil
	}
	return batch
}

// write repeats one bulk until the store takes it: an outcome is never given up
// while the program runs, and meanwhile nothing new is dispatched.
func (o *Outbox) write(ctx context.Context, batch []finished) (missed []string, ok bool) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		crashpoint.Hit("before_flush")
		start := o.now()
		fs, late := o.timely(batch)
		var err error
		if len(fs) > 0 {
			missed, err = o.store.FinishDeliveries(ctx, fs)
		}
		o.metrics.flush.Observe(o.now().Sub(start).Seconds())
		if err == nil {
			return append(missed, late...), true
		}
		if ctx.Err() != nil {
			return nil, false
		}
		o.log.Warn("outcomes not written, trying again", "count", len(fs), "err", err)
		if !sleep(ctx, wait) {
			return nil, false
		}
	}
}

// timely leaves out the outcomes of partitions that may be another process's by now: what that
// process does with the delivery is the truth.
func (o *Outbox) timely(batch []finished) (fs []store.DeliveryFinish, late []string) {
	fs = make([]store.DeliveryFinish, 0, len(batch))
	for i := range batch {
		b := &batch[i]
		if o.shared && !o.leased(b.lane.partition, b.f.Epoch) {
			late = append(late, b.f.ID)
			continue
		}
		fs = append(fs, b.f)
	}
	return fs, late
}

// flushed frees what a bulk held up.
func (o *Outbox) flushed(batch []finished, missed []string) {
	gone := make(map[string]bool, len(missed))
	for _, id := range missed {
		gone[id] = true
	}
	now := o.now()
	o.mu.Lock()
	for i := range batch {
		b := &batch[i]
		b.lane.unflushed--
		b.ep.unflushed--
		o.unflushed--
		b.it.flushing = false
		b.lane.touched = b.ep.round
		if gone[b.f.ID] {
			// Someone else moved it, or deleted it: it is no longer ours.
			b.lane.remove(b.it)
			o.metrics.fenceLost.Inc()
			// What comes after it was perhaps moved, too, and must not overtake it.
			b.lane.stale = o.shared
		}
		o.reread(b.lane)
		if b.lane.ep != nil {
			b.ep.place(b.lane, now)
		}
		b.ep.tellIdle()
		if b.ep.park {
			o.wakeController()
		}
	}
	o.mu.Unlock()
	o.wakeDispatcher()
	if len(missed) > 0 {
		o.log.Warn("outcomes discarded: their deliveries were changed by someone else", "count", len(missed))
	}
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
