// Package api is the REST surface: one table of routes, handlers by noun, and one
// place where errors become answers. It keeps the contract that users of the first
// Wildcat script against, on its bare paths and under /v1.
//
// It owns shapes, limits and the guard against other people's web pages; what an
// account, a message or a delivery does is behind the interfaces in deps.go.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/config"
)

// Config is what the operator chose.
type Config struct {
	Server config.ServerConfig
	// Network is the WhatsApp that the accounts live on: shown by /healthz.
	Network config.Network
	// Version is the program's.
	Version string
	// SendTimeout is how long a request waits for WhatsApp's acceptance; 0 means 60 s.
	SendTimeout time.Duration
}

// grace is how long Stop lets requests finish by themselves before their contexts end.
const grace = 3 * time.Second

// Server is the REST API.
type Server struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	handler http.Handler
	auth    *authWatch

	strangers readiness

	mu       sync.Mutex
	http     *http.Server
	listener net.Listener
	cancel   context.CancelFunc
	failed   chan error
	done     chan struct{}
}

// New builds the API; it listens only after Start.
func New(cfg Config, deps Deps) (*Server, error) {
	for name, missing := range map[string]bool{
		"accounts": deps.Accounts == nil, "sender": deps.Sender == nil, "messages": deps.Messages == nil, "blobs": deps.Blobs == nil,
		"webhooks": deps.Webhooks == nil, "deliveries": deps.Deliveries == nil, "tracer": deps.Tracer == nil,
		"connectors": deps.Connectors == nil, "rules": deps.Rules == nil, "health": deps.Health == nil,
		"keys": deps.Keys == nil, "gatherer": deps.Gatherer == nil, "registerer": deps.Registerer == nil,
	} {
		if missing {
			return nil, fmt.Errorf("api: %s is needed", name)
		}
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.Reader
	}
	if cfg.SendTimeout <= 0 {
		cfg.SendTimeout = time.Minute
	}
	if cfg.Server.MaxBody <= 0 {
		cfg.Server.MaxBody = config.Default().Server.MaxBody
	}
	s := &Server{cfg: cfg, deps: deps, log: deps.Logger.With("component", "api"), failed: make(chan error, 1)}
	handler, err := s.router()
	if err != nil {
		return nil, err
	}
	s.handler = handler
	return s, nil
}

// Handler is the whole API, for tests and for serving elsewhere.
func (s *Server) Handler() http.Handler { return s.handler }

// Start listens and serves until Stop. ctx bounds the start only.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return errors.New("api: started already")
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.cfg.Server.Address())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.listener, s.done = cancel, listener, make(chan struct{})
	s.http = &http.Server{
		Handler:           s.handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       2 * time.Minute,
		WriteTimeout:      s.cfg.SendTimeout + 3*time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func(srv *http.Server, done chan struct{}) {
		defer close(done)
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	}(s.http, s.done)
	s.log.Info("listening", "address", listener.Addr().String())
	return nil
}

// Addr is where the API listens, nil before Start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Failed yields an error if serving ends by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop closes the listener, lets requests finish for a few seconds, then ends their
// contexts, and when ctx ends closes their connections. Safe without Start, and twice.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	srv, cancel, done := s.http, s.cancel, s.done
	s.mu.Unlock()
	if srv == nil {
		return nil
	}
	defer cancel()
	polite, stop := context.WithTimeout(ctx, grace)
	err := srv.Shutdown(polite)
	stop()
	if err != nil {
		cancel()
		err = srv.Shutdown(ctx)
	}
	if err != nil {
		_ = srv.Close()
		err = fmt.Errorf("stop api: %w", err)
	}
	<-done
	return err
}
