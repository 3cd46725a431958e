// Package egress is the guard between Wildcat and every address that a user
// gives: webhooks, media to fetch, whatever comes. It owns which addresses may be
// dialled and the limits of such a connection; it does not know what is sent.
//
// The check runs in the dialer's Control, on the address that was resolved and is
// about to be connected to, so that a name which resolves to a public address when
// it is checked and to a private one when it is used gains nothing.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 5 * time.Second
	// headerTimeout is longer than any timeout that a webhook may have (60 s): that one counts, and
	// an answer that takes long is an answer.
	headerTimeout  = 65 * time.Second
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 64 << 10
	maxIdlePerHost = 32
	maxIdle        = 256
)

// ErrBlocked is wrapped by every error of a connection that the guard refused.
var ErrBlocked error = blockedError{}

// blockedError lets a connector, which may not import this package, ask an error
// for EgressBlocked.
type blockedError struct{}

// Error implements error.
func (blockedError) Error() string { return "egress blocked" }

// EgressBlocked is true.
func (blockedError) EgressBlocked() bool { return true }

// Config says which addresses may be reached besides public ones.
type Config struct {
	// AllowCIDRs are private networks that may be reached, such as 10.0.0.0/8.
	// What is always blocked stays so.
	AllowCIDRs []string
	// AllowLoopback lets loopback addresses through: meant for a hub that listens on
	// loopback only, so that a program on the same machine can be its webhook.
	AllowLoopback bool
	// Deny are sockets that are never dialled: the hub's own and the database's. An
	// unspecified address stands for every address of this machine.
	Deny []netip.AddrPort
}

// Deps is what the program passes in; all of it is optional.
type Deps struct {
	Registerer prometheus.Registerer
	// Resolver replaces the system's.
	Resolver *net.Resolver
	// Local returns this machine's addresses; default net.InterfaceAddrs.
	Local func() ([]net.Addr, error)
}

// Guard decides about connections. It is safe for concurrent use.
type Guard struct {
	public   *ssrf.Guardian
	allowed  []netip.Prefix
	loopback bool
	mu       sync.RWMutex
	deny     []netip.AddrPort // guarded by mu
	resolver *net.Resolver
	local    func() ([]net.Addr, error)
	blocked  prometheus.Counter
}

// New makes a guard; a malformed CIDR is an error.
func New(cfg Config) (*Guard, error) { return NewWith(cfg, Deps{}) }

// NewWith is New with dependencies.
func NewWith(cfg Config, deps Deps) (*Guard, error) {
	g := &Guard{
		loopback: cfg.AllowLoopback, deny: slices.Clone(cfg.Deny), resolver: deps.Resolver, local: deps.Local,
		// Any port: webhooks live on all of them. The sockets that matter are in Deny.
		public: ssrf.New(ssrf.WithAnyPort(), ssrf.WithNetworks("tcp4", "tcp6")),
		blocked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wildcat_ssrf_blocked_total", Help: "Connections to forbidden addresses that were refused.",
		}),
	}
	if g.local == nil {
		g.local = net.InterfaceAddrs
	}
	var errs []error
	for _, s := range cfg.AllowCIDRs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("egress.allow_cidrs: %q is no network such as 10.0.0.0/8", s))
			continue
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.allowed = append(g.allowed, p.Masked())
	}
	if deps.Registerer != nil {
		if err := deps.Registerer.Register(g.blocked); err != nil {
			errs = append(errs, fmt.Errorf("register egress metrics: %w", err))
		}
	}
	return g, errors.Join(errs...)
}

// Deny adds a socket that is never dialled, for one whose port is known only once it listens.
func (g *Guard) Deny(ap netip.AddrPort) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deny = append(g.deny, ap)
}

// Transport returns a new transport whose connections the guard checks. It takes no
// proxy from the environment, since the guard would then check the proxy's address.
func (g *Guard) Transport() *http.Transport {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: g.control, Resolver: g.resolver}
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true, // a bomb is not unpacked
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
}

// Client returns a new client over a new transport. It never follows redirects: a
// redirected POST would become a GET without a body, and look like a success.
// timeout bounds a whole request, body included; 0 leaves it to the request's context.
// The caller ends it with CloseIdleConnections.
func (g *Guard) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Transport:     g.Transport(),
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (g *Guard) control(network, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err == nil {
		err = g.Check(ap)
	}
	if network != "tcp4" && network != "tcp6" {
		err = fmt.Errorf("network %s", network)
	}
	if err == nil {
		return nil
	}
	g.blocked.Inc()
	if errors.Is(err, ErrBlocked) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBlocked, err)
}

// CheckHost resolves a host and checks every address of it, for an early answer to a
// user; the check that counts is made at each connection.
func (g *Guard) CheckHost(ctx context.Context, host string, port uint16) error {
	r := g.resolver
	if r == nil {
		r = net.DefaultResolver
	}
	addrs, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("resolve %s: %w", host, err)
	}
	for _, a := range addrs {
		if err := g.Check(netip.AddrPortFrom(a, port)); err != nil {
			return err
		}
	}
	return nil
}
