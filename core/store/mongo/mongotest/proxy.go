// Package mongotest stands between a program and its MongoDB server, for tests: it takes
// the server away, slows it down, and answers in its place. Unlike the server's own fail
// points it spares whoever else uses the server, so that tests may run side by side.
package mongotest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ErrUnsuitable says that a server cannot be stood in front of: it has several addresses,
// or TLS.
var ErrUnsuitable = errors.New("the proxy is for a server with one address and without TLS")

// Writes are the commands that change something.
func Writes() []string {
	return []string{"insert", "update", "delete", "findAndModify", "createIndexes"}
}

// Reads are the commands that a server answers only while it leads, if asked to.
func Reads() []string { return []string{"find", "getMore", "aggregate"} }

// The server's words for two states of its own.
const (
	// NotWritablePrimary: another member leads, or none.
	NotWritablePrimary = 10107
	// OutOfDiskSpace: nothing more can be stored.
	OutOfDiskSpace = 14031
)

// Proxy passes commands on to a server until told otherwise. All methods are safe for
// concurrent use.
type Proxy struct {
	// URI leads to the server by way of the proxy.
	URI string

	server string
	listen net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	down    bool
	stalled chan struct{} // closed when answers pass again; nil while they do
	delay   time.Duration
	refused map[string]int // error code by command
	cutAt   int            // counts write commands down; see Cut
}

// Start listens on a free port of the loopback. The error wraps ErrUnsuitable if this
// server has no place for a proxy in front of it.
func Start(uri string) (*Proxy, error) {
	opts := options.Client().ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	if len(opts.Hosts) != 1 || strings.HasPrefix(uri, "mongodb+srv:") || opts.TLSConfig != nil {
		return nil, ErrUnsuitable
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // immediate
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{server: opts.Hosts[0], listen: listen, conns: map[net.Conn]bool{}, refused: map[string]int{}}
	p.URI = strings.Replace(uri, opts.Hosts[0], listen.Addr().String(), 1)
	query := "?"
	if strings.Contains(uri, "?") {
		query = "&"
	} else if strings.Count(uri, "/") < 3 {
		query = "/?"
	}
	// Direct, for else the driver would learn the server's own address and go past us; and
	// no streamed heartbeats, since the proxy expects one answer to each command.
	p.URI += query + "directConnection=true&serverMonitoringMode=poll"
	p.wg.Go(p.accept)
	return p, nil
}

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.listen.Close()
	p.Stall(false)
	p.Down(true)
	p.wg.Wait()
}

// Down takes the server away, or gives it back: connections are cut, and new ones end at
// once.
func (p *Proxy) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		p.cutAll()
	}
}

func (p *Proxy) cutAll() {
	for c := range p.conns {
		_ = c.Close()
	}
}

// Stall keeps all answers back, as a network does that loses every packet, or lets them
// pass again. Connections stay.
func (p *Proxy) Stall(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case stall && p.stalled == nil:
		p.stalled = make(chan struct{})
	case !stall && p.stalled != nil:
		close(p.stalled)
		p.stalled = nil
	}
}

// Slow makes each answer wait; 0 ends that.
func (p *Proxy) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Refuse answers these commands with an error of the server's, in its place, and does not
// pass them on.
func (p *Proxy) Refuse(code int, commands ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range commands {
		p.refused[c] = code
	}
}

// StepDown lets the server be one that leads no more: connections are cut, once, and from
// then on commands are refused until Allow.
func (p *Proxy) StepDown() {
	p.Refuse(NotWritablePrimary, append(Writes(), Reads()...)...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAll()
}

// Allow ends what Refuse and StepDown began.
func (p *Proxy) Allow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.refused)
}

// Cut arms the proxy: the n-th write command from now on reaches the server and is
// applied, and the connection is cut before the answer. 0 disarms it.
func (p *Proxy) Cut(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt = n
}

// Armed tells that the cut is still to come.
func (p *Proxy) Armed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cutAt > 0
}
