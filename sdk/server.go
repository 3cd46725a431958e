// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// server serves the contract for one Connector. Configure replaces the value as a
// whole, so that a refused configuration leaves nothing behind.
type server struct {
	pb.UnimplementedConnectorServer
	create func() Connector
	dial   func(id uint32) (Host, error)
	log    *slog.Logger

	mu      sync.Mutex
	c       Connector
	started bool
	stopped bool
	disp    *dispatcher
}

func newServer(create func() Connector, dial func(uint32) (Host, error), log *slog.Logger) *server {
	return &server{create: create, dial: dial, log: log, c: create()}
}

// register is a GRPCPlugin's way in.
func (s *server) register(g *grpc.Server) { pb.RegisterConnectorServer(g, s) }

// Describe implements the contract.
func (s *server) Describe(context.Context, *pb.DescribeRequest) (*pb.Manifest, error) {
	return manifestTo(s.connector().Info()), nil
}

// Validate implements the contract.
func (s *server) Validate(_ context.Context, c *pb.Config) (*pb.Problems, error) {
	return problemsTo(s.create().Configure(json.RawMessage(c.GetWith()))), nil
}

// Configure implements the contract.
func (s *server) Configure(_ context.Context, cfg *pb.Config) (*pb.Problems, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.stopped {
		return nil, status.Error(codes.FailedPrecondition, "configure comes before start")
	}
	c := s.create()
	if err := c.Configure(json.RawMessage(cfg.GetWith())); err != nil {
		return problemsTo(err), nil
	}
	s.c = c
	return &pb.Problems{}, nil
}

// Start implements the contract.
func (s *server) Start(ctx context.Context, req *pb.StartRequest) (*pb.StartReply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.stopped {
		return nil, status.Error(codes.FailedPrecondition, "start comes once")
	}
	var host Host = noHost{}
	if req.GetHost() != 0 {
		h, err := s.dial(req.GetHost())
		if err != nil {
			return nil, status.Error(codes.Unavailable, "connect to the hub: "+err.Error())
		}
		host = h
	}
	if err := s.c.Start(ctx, host); err != nil {
		return nil, status.Error(codes.FailedPrecondition, clip(err.Error(), MaxBody))
	}
	s.started = true
	return &pb.StartReply{}, nil
}

// Deliver implements the contract. The stream is served once: its end is the end
// of the process, so nothing here outlives it but a call that ignores its context.
func (s *server) Deliver(st grpc.BidiStreamingServer[pb.ToConnector, pb.FromConnector]) error {
	s.mu.Lock()
	if !s.started || s.stopped || s.disp != nil {
		s.mu.Unlock()
		return status.Error(codes.FailedPrecondition, "deliver comes once, after start")
	}
	limit := s.c.Info().InFlight
	disp := newDispatcher(s.c.Deliver, limit, s.log)
	s.disp = disp
	s.mu.Unlock()

	credit := uint32(min(MaxCredit, max(256, limit))) //nolint:gosec // bounded
	hello := &pb.FromConnector{M: &pb.FromConnector_Hello{Hello: &pb.Hello{Credit: credit}}}
	if err := st.Send(hello); err != nil {
		return err
	}
	done := make(chan struct{})
	var sender sync.WaitGroup
	sender.Go(func() { sendResults(st, disp, done) })
	err := s.receive(st, disp)
	if err == nil { // the hub has closed its side and waits for the rest
		err = disp.drain(st.Context())
	}
	close(done)
	sender.Wait()
	return err
}

func (s *server) receive(st grpc.BidiStreamingServer[pb.ToConnector, pb.FromConnector], disp *dispatcher) error {
	for {
		m, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		batch := m.GetBatch() // nil for what a later hub may send
		timeout := time.Duration(batch.GetTimeoutMs()) * time.Millisecond
		for _, d := range batch.GetDeliveries() {
			if err := disp.submit(st.Context(), d, timeout); err != nil {
				return status.Error(codes.ResourceExhausted, err.Error())
			}
		}
	}
}

// sendResults sends whatever results are ready in one message, and credit for as many.
func sendResults(st grpc.BidiStreamingServer[pb.ToConnector, pb.FromConnector], disp *dispatcher, done <-chan struct{}) {
	for {
		var batch []*pb.Result
		select {
		case r := <-disp.out:
			batch = append(batch, r)
		case <-done:
			return
		}
	more:
		for len(batch) < 256 {
			select {
			case r := <-disp.out:
				batch = append(batch, r)
			default:
				break more
			}
		}
		n := uint32(len(batch)) //nolint:gosec // at most 256
		err := st.Send(&pb.FromConnector{M: &pb.FromConnector_Results{Results: &pb.Results{Results: batch, Credit: n}}})
		disp.sent(len(batch))
		if err != nil {
			return // receive sees the end of the stream, too
		}
	}
}

// Health implements the contract.
func (s *server) Health(context.Context, *pb.HealthRequest) (*pb.HealthReply, error) {
	s.mu.Lock()
	disp, serving := s.disp, s.started && !s.stopped
	s.mu.Unlock()
	reply := &pb.HealthReply{State: pb.HealthReply_STATE_NOT_SERVING}
	if serving {
		reply.State = pb.HealthReply_STATE_SERVING
	}
	if disp != nil {
		reply.Backlog = uint32(disp.backlog()) //nolint:gosec // at most MaxCredit
	}
	return reply, nil
}

// Drain implements the contract.
func (s *server) Drain(ctx context.Context, _ *pb.DrainRequest) (*pb.DrainReply, error) {
	s.mu.Lock()
	disp := s.disp
	s.mu.Unlock()
	var drained error
	if disp != nil {
		drained = disp.drain(ctx)
	}
	if err := errors.Join(drained, s.stop(ctx)); err != nil {
		return nil, status.Error(codes.Unknown, clip(err.Error(), MaxBody))
	}
	return &pb.DrainReply{}, nil
}

// stop releases the connector; only the first call does anything.
func (s *server) stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	if err := s.c.Stop(ctx); err != nil {
		return fmt.Errorf("stop connector: %w", err)
	}
	return nil
}

func (s *server) connector() Connector {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

// recoverUnary turns a panic of the author's code into an error of the call.
func (s *server) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("connector panicked", "call", info.FullMethod, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, clip(fmt.Sprintf("panic: %v", v), MaxBody))
		}
	}()
	return next(ctx, req)
}

// problemsTo lists every *ConfigError in err, which may be joined of several.
func problemsTo(err error) *pb.Problems {
	out := &pb.Problems{}
	if err == nil {
		return out
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			out.Problems = append(out.Problems, problemsTo(e).GetProblems()...)
		}
		return out
	}
	p := &pb.Problem{Message: clip(err.Error(), MaxBody)}
	var ce *ConfigError
	if errors.As(err, &ce) {
		p.Path, p.Message = clip(ce.Path, MaxReason), clip(ce.Message, MaxBody)
	}
	out.Problems = append(out.Problems, p)
	return out
}
