// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/sdk"
	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// The bounds of a batch. One event may be larger and then goes alone.
const (
	batchEvents = 64
	batchBytes  = 256 << 10
	maxEvent    = sdk.MaxMessage - 64<<10 // leaves room for the envelope
)

// StreamConfig bounds waiting.
type StreamConfig struct {
	// Answer is how long a Deliver call waits for its result (30 s if 0).
	Answer time.Duration
	// Send is how long one write to the connector may block (10 s if 0): gRPC itself sets no bound.
	Send time.Duration
}

// Stream lets any number of Deliver calls share the one stream to a connector. It
// owns two goroutines, which end when the stream does or Close is called.
type Stream struct {
	st     grpc.BidiStreamingClient[pb.ToConnector, pb.FromConnector]
	cfg    StreamConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // something to send, or credit to send it with
	done   chan struct{} // closed when nothing more will be answered

	mu       sync.Mutex
	err      error
	closing  bool
	queue    []*waiting
	out      map[uint64]*waiting
	owed     int // sent and not answered, given up ones included
	credit   int
	ticket   uint64
	progress time.Time // when a result last came, or work began
}

type waiting struct {
	msg    *pb.Delivery
	size   int
	gone   bool // the caller has given up
	result chan sdk.Result
}

var errStuck = errors.New("connector does not read its stream")

// open starts the stream and waits for the connector's hello. ctx bounds the wait only.
func open(ctx context.Context, c pb.ConnectorClient, cfg StreamConfig) (*Stream, error) {
	if cfg.Answer <= 0 {
		cfg.Answer = 30 * time.Second
	}
	if cfg.Send <= 0 {
		cfg.Send = 10 * time.Second
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, cancel)
	st, err := c.Deliver(own)
	if err == nil {
		var first *pb.FromConnector
		if first, err = st.Recv(); err == nil && first.GetHello() == nil {
			err = errors.New("connector did not say hello")
		}
		if err == nil && release() {
			s := &Stream{
				st: st, cfg: cfg, cancel: cancel,
				wake: make(chan struct{}, 1), done: make(chan struct{}),
				out: make(map[uint64]*waiting),
			}
			s.grant(first.GetHello().GetCredit())
			s.wg.Go(s.send)
			s.wg.Go(s.receive)
			return s, nil
		}
	}
	cancel()
	if err == nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("open stream: %w", err)
}

// Deliver sends one event and waits for its result: at most until ctx ends, the
// stream ends ("connector_lost"), or the time for an answer is over ("timeout").
// taken is false when the connector surely never saw the event, because the stream
// had ended or ends now.
func (s *Stream) Deliver(ctx context.Context, d sdk.Delivery) (r sdk.Result, taken bool) {
	w := &waiting{msg: Delivery(d), result: make(chan sdk.Result, 1)}
	w.size = proto.Size(w.msg)
	if w.size > maxEvent {
		return sdk.Result{Status: sdk.Reject, Reason: "event_too_large"}, true
	}
	s.mu.Lock()
	if s.err != nil || s.closing {
		s.mu.Unlock()
		return sdk.Result{Uncounted: true, Reason: "connector_down"}, false
	}
	s.queue = append(s.queue, w)
	s.mu.Unlock()
	s.poke()

	timer := time.NewTimer(s.cfg.Answer)
	defer timer.Stop()
	select {
	case r := <-w.result:
		return r, true
	case <-s.done:
		if r, sent := s.giveUp(w, sdk.Result{Reason: "connector_lost"}); sent {
			return r, true
		}
		return sdk.Result{Uncounted: true, Reason: "connector_down"}, false
	case <-timer.C:
		r, _ = s.giveUp(w, sdk.Result{Reason: "timeout"})
	case <-ctx.Done():
		r = sdk.Result{Uncounted: true, Reason: "cancelled"}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r = sdk.Result{Reason: "timeout"}
		}
		r, _ = s.giveUp(w, r)
	}
	return r, true
}

// giveUp answers for the connector, unless its result has just come. What was
// never sent spends no attempt.
func (s *Stream) giveUp(w *waiting, r sdk.Result) (_ sdk.Result, sent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case got := <-w.result:
		return got, true
	default:
	}
	w.gone = true
	if w.msg.GetTicket() == 0 {
		r.Uncounted = true
		return r, false
	}
	delete(s.out, w.msg.GetTicket())
	return r, true
}

// send is the only goroutine that writes to the stream.
func (s *Stream) send() {
	for {
		select {
		case <-s.done:
			return
		case <-s.wake:
		}
		for {
			batch := s.take()
			if batch == nil {
				break
			}
			batch.TimeoutMs = (s.cfg.Answer * 9 / 10).Milliseconds() // so that its own account of a timeout is in time
			watchdog := time.AfterFunc(s.cfg.Send, func() { s.fail(errStuck) })
			err := s.st.Send(&pb.ToConnector{M: &pb.ToConnector_Batch{Batch: batch}})
			watchdog.Stop()
			if err != nil {
				s.cancel() // receive reports the reason
				return
			}
		}
		if s.finished() {
			_ = s.st.CloseSend()
			return
		}
	}
}

// take moves what fits into a batch from the queue to what is out; nil if there is
// nothing to send or no credit for it.
func (s *Stream) take() *pb.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch *pb.Batch
	size, n := 0, 0
	for n < len(s.queue) && s.credit > 0 {
		w := s.queue[n]
		if w.gone {
			n++
			continue
		}
		if batch != nil && (len(batch.Deliveries) >= batchEvents || size+w.size > batchBytes) {
			break
		}
		n++
		if batch == nil {
			batch = &pb.Batch{}
		}
		s.ticket++
		w.msg.Ticket = s.ticket
		s.out[s.ticket] = w
		if s.owed == 0 {
			s.progress = time.Now()
		}
		s.owed++
		s.credit--
		size += w.size
		batch.Deliveries = append(batch.Deliveries, w.msg)
	}
	clear(s.queue[:n]) // let go of what was sent
	s.queue = s.queue[n:]
	return batch
}

// receive is the only goroutine that reads from the stream.
func (s *Stream) receive() {
	defer close(s.done)
	defer s.cancel()
	for {
		m, err := s.st.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("connector closed the stream")
			}
			s.fail(err)
			return
		}
		switch m := m.GetM().(type) {
		case *pb.FromConnector_Results:
			s.results(m.Results)
		case *pb.FromConnector_Credit:
			s.mu.Lock()
			s.grant(m.Credit.GetCredit())
			s.mu.Unlock()
		}
		s.poke()
	}
}

func (s *Stream) results(rs *pb.Results) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rs.GetResults() {
		s.owed = max(0, s.owed-1)
		if w := s.out[r.GetTicket()]; w != nil { // nil: given up, or never asked
			delete(s.out, r.GetTicket())
			w.result <- Result(r)
		}
	}
	s.progress = time.Now()
	s.grant(rs.GetCredit())
}

// grant adds credit. The caller holds mu, or is alone.
func (s *Stream) grant(n uint32) {
	s.credit = min(s.credit+int(min(n, sdk.MaxCredit)), sdk.MaxCredit-s.owed)
}

func (s *Stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.cancel()
}

func (s *Stream) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && len(s.queue) == 0
}

// Done is closed when the stream has ended, for whatever reason.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err says why the stream has ended; nil while it has not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stalled says for how long the connector has owed results and given none.
func (s *Stream) Stalled() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed == 0 {
		return 0
	}
	return time.Since(s.progress)
}

// Finish takes no further deliveries, lets the connector answer what it has, and
// ends the stream; when ctx ends first, what is left is lost.
func (s *Stream) Finish(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.poke()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.Close()
}

// Close ends the stream at once; waiting Deliver calls answer "connector_lost".
// It may be called twice.
func (s *Stream) Close() {
	s.cancel()
	s.wg.Wait()
}
