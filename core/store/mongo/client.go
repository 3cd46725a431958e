package mongo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

const (
	connectTimeout = 5 * time.Second
	// selectTimeout is how long a call waits for a server that may be written: longer
	// than an election usually takes would hold up the caller for nothing.
	selectTimeout = 5 * time.Second
	maxPool       = 64
	// unknownServer is what the driver calls one that it cannot reach.
	unknownServer = "Unknown"
)

// clientOptions are the URI's, with what durability rests on put right.
func clientOptions(uri string, deps Deps, m *metrics) (*options.ClientOptions, error) {
	opts := options.Client().ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		// The driver's text may repeat the URI, which may hold a password.
		return nil, errors.New("database URI: expected mongodb://host:port or mongodb+srv://host, with valid options")
	}
	journal := true
	opts.SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}).
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()).
		SetRetryWrites(false).
		SetAppName("wildcat").
		SetDialer(&dialer{told: deps.Dialled, seen: map[netip.AddrPort]bool{}})
	if opts.ServerSelectionTimeout == nil {
		opts.SetServerSelectionTimeout(selectTimeout)
	}
	if opts.MaxPoolSize == nil {
		opts.SetMaxPoolSize(maxPool)
	}
	opts.SetMonitor(monitors(m.monitor(), deps.Monitor))
	if deps.Trouble != nil {
		opts.SetServerMonitor(&event.ServerMonitor{ServerDescriptionChanged: func(e *event.ServerDescriptionChangedEvent) {
			if e.NewDescription.Kind == unknownServer {
				deps.Trouble()
			}
		}})
	}
	return opts, nil
}

// dialer tells which addresses are the database's, so that webhooks are kept away from them.
type dialer struct {
	net  net.Dialer
	told func(netip.AddrPort)
	mu   sync.Mutex
	seen map[netip.AddrPort]bool
}

// DialContext implements options.ContextDialer.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("dial database: %w", err)
	}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && d.told != nil && d.first(ap) {
		d.told(ap)
	}
	return conn, nil
}

func (d *dialer) first(ap netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.seen[ap]
	d.seen[ap] = true
	return !known
}

// monitors joins two, of which the second may be nil.
func monitors(a, b *event.CommandMonitor) *event.CommandMonitor {
	if b == nil {
		return a
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			a.Started(ctx, e)
			if b.Started != nil {
				b.Started(ctx, e)
			}
		},
		Succeeded: b.Succeeded,
		Failed:    b.Failed,
	}
}
