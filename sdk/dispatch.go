// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	pb "github.com/wildcathub/wildcat/sdk/proto"
)

// dispatcher turns the deliveries of the stream into calls of Connector.Deliver:
// at most limit at once, and one after the other within a chat as long as the
// delivery is ordered. It owns the goroutines that make the calls.
type dispatcher struct {
	deliver func(context.Context, Delivery) Result
	limit   int
	log     *slog.Logger
	out     chan *pb.Result // has room for every delivery that credit allows
	wg      sync.WaitGroup

	mu      sync.Mutex
	lanes   map[string][]job // a key is present while its chat is being worked on
	ready   []job
	running int
	taken   int // deliveries submitted whose result was not sent yet
	refuse  string
	idle    chan struct{} // non-nil while someone waits for taken == 0
}

type job struct {
	ctx    context.Context //nolint:containedctx // the call's own, for as long as the call waits
	cancel context.CancelFunc
	ticket uint64
	lane   string // "" if unordered
	d      Delivery
}

var errTooMany = errors.New("more deliveries than credit allows")

func newDispatcher(deliver func(context.Context, Delivery) Result, limit int, log *slog.Logger) *dispatcher {
	return &dispatcher{
		deliver: deliver, limit: max(1, limit), log: log,
		out:   make(chan *pb.Result, MaxCredit),
		lanes: make(map[string][]job),
	}
}

// submit takes one delivery. Its result appears on out, exactly once.
func (p *dispatcher) submit(ctx context.Context, m *pb.Delivery, timeout time.Duration) error {
	j := job{ticket: m.GetTicket(), d: deliveryFrom(m)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= MaxCredit {
		return errTooMany
	}
	p.taken++
	switch {
	case p.refuse != "":
		p.out <- resultTo(j.ticket, Result{Uncounted: true, Reason: p.refuse})
		return nil
	case j.d.Event == nil:
		p.out <- resultTo(j.ticket, Result{Status: Reject, Reason: "no_event"})
		return nil
	}
	j.ctx, j.cancel = ctx, func() {}
	if timeout > 0 {
		j.ctx, j.cancel = context.WithTimeout(ctx, timeout)
	}
	if j.d.Ordered {
		j.lane = j.d.Event.Account + "\x00" + j.d.Event.Chat
		if waiting, busy := p.lanes[j.lane]; busy {
			p.lanes[j.lane] = append(waiting, j)
			return nil
		}
		p.lanes[j.lane] = nil
	}
	p.schedule(j)
	return nil
}

// schedule hands a job to a worker. The caller holds mu.
func (p *dispatcher) schedule(j job) {
	p.ready = append(p.ready, j)
	if p.running < p.limit {
		p.running++
		p.wg.Go(p.work)
	}
}

func (p *dispatcher) work() {
	for {
		p.mu.Lock()
		if len(p.ready) == 0 {
			p.running--
			p.mu.Unlock()
			return
		}
		j := p.ready[0]
		p.ready = p.ready[1:]
		p.mu.Unlock()

		r := p.call(j)
		j.cancel()
		p.out <- resultTo(j.ticket, r)
		p.release(j.lane)
	}
}

// release lets the next delivery of a chat go.
func (p *dispatcher) release(lane string) {
	if lane == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.lanes[lane]
	if len(waiting) == 0 {
		delete(p.lanes, lane)
		return
	}
	p.lanes[lane] = waiting[1:]
	p.schedule(waiting[0])
}

// call makes one call. A panic is a failure of this event, not of the process.
func (p *dispatcher) call(j job) (r Result) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("connector panicked", "event_id", j.d.Event.ID, "attempt", j.d.Attempt,
				"err", fmt.Sprint(v), "stack", string(debug.Stack()))
			r = Result{Status: Retry, Reason: "panic"}
		}
	}()
	if j.ctx.Err() != nil { // it waited behind its chat for too long
		return Result{Status: Retry, Reason: "timeout"}
	}
	return p.deliver(j.ctx, j.d)
}

// sent notes that n results have left.
func (p *dispatcher) sent(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken -= n
	if p.taken == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// backlog counts the deliveries without a sent result.
func (p *dispatcher) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

// drain answers every further delivery with an uncounted retry and waits until
// everything that was taken has been answered.
func (p *dispatcher) drain(ctx context.Context) error {
	p.mu.Lock()
	p.refuse = "draining"
	if p.taken == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle := p.idle
	p.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
