package api

import (
	"context"
	_ "embed"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wildcathub/wildcat/core/config"
)

//go:embed openapi.yaml
var openapi []byte

func (s *Server) ping(c *gin.Context) error {
	return ok(c, gin.H{"ok": true, "pong": true, "time": iso(s.deps.Now())})
}

// healthz says that the program runs, and on which WhatsApp: nobody should take
// a sandbox for the real one.
func (s *Server) healthz(c *gin.Context) error {
	network := s.cfg.Network
	if network == "" {
		network = config.NetworkLive
	}
	if !callerOf(c).trusted {
		return ok(c, gin.H{"ok": true}) // up or down is all that is for everybody
	}
	return ok(c, gin.H{"ok": true, "network": network, "version": s.cfg.Version})
}

// readyTimeout bounds the checks: an orchestrator asks every few seconds.
const readyTimeout = 5 * time.Second

// readyEvery is how old what a stranger is told may be: each check writes to the database,
// and strangers shall not decide how often it is written.
const readyEvery = time.Second

// readiness is what strangers were told last.
type readiness struct {
	mu     sync.Mutex
	at     time.Time
	checks []Check
}

// ready checks now for those who may, and once a second at most for everybody else.
func (s *Server) ready(ctx context.Context, trusted bool) []Check {
	if trusted {
		return s.check(ctx)
	}
	s.strangers.mu.Lock()
	defer s.strangers.mu.Unlock()
	if s.deps.Now().Sub(s.strangers.at).Abs() >= readyEvery {
		// A stranger who hangs up must not be what others are told.
		s.strangers.checks = s.check(context.WithoutCancel(ctx))
		s.strangers.at = s.deps.Now()
	}
	return s.strangers.checks
}

func (s *Server) check(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return orEmpty(s.deps.Health.Ready(ctx))
}

func (s *Server) readyz(c *gin.Context) error {
	checks, status := s.ready(c.Request.Context(), callerOf(c).trusted), http.StatusOK
	for _, one := range checks {
		if !one.OK {
			status = http.StatusServiceUnavailable
		}
	}
	answer := gin.H{"ok": status == http.StatusOK}
	if callerOf(c).trusted {
		answer["checks"] = checks
	}
	if status != http.StatusOK {
		answer["error"], answer["code"] = "not ready", "not_ready"
	}
	c.PureJSON(status, answer)
	return nil
}

func (s *Server) metrics() func(*gin.Context) error {
	h := promhttp.HandlerFor(s.deps.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return func(c *gin.Context) error {
		h.ServeHTTP(c.Writer, c.Request)
		return nil
	}
}

func (s *Server) openAPI(c *gin.Context) error {
	c.Data(http.StatusOK, "application/yaml; charset=utf-8", openapi)
	return nil
}
