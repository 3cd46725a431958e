package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// tripMessages are received, and sent, one after the other.
const tripMessages = 100

// trips counts commands: those about the devices' keys, and the others.
type trips struct {
	mu           sync.Mutex
	keys, events int
}

func (t *trips) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		coll, _ := e.Command.Lookup(e.CommandName).StringValueOK()
		t.mu.Lock()
		defer t.mu.Unlock()
		if strings.HasPrefix(coll, "auth_") || coll == "lids" || coll == "devices" {
			t.keys++
		} else {
			t.events++
		}
	}}
}

// counted is how much something cost for each message.
type counted struct{ keys, events, calls float64 }

// tripWorld is an account of the hub's own parts on MongoDB, a sandbox, and a friend.
type tripWorld struct {
	trips  *trips
	faults *devices.Faults // counts the calls of the key store; it fails none
	store  *mongo.Store
	keys   *devices.Container
	pipe   *pipeline.Pipeline
	net    *whatsapp.Network
	sim    *simulator.Server
	owner  *simulator.Phone
	friend *simulator.Phone
	dev    *simulator.Device
	client *whatsapp.Meow
	ends   []func()
}

func (w *tripWorld) close() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
}

// roundTrips counts what a message costs on MongoDB beside the event itself: calls of the
// key store, and the round trips that are left of them.
func (b *bench) roundTrips(ctx context.Context) ([]row, error) {
	if b.mongo == nil {
		return nil, nil
	}
	w := &tripWorld{trips: &trips{}, faults: &devices.Faults{}}
	defer w.close()
	if err := w.open(ctx, b.mongo); err != nil {
		return nil, err
	}
	group, err := w.owner.CreateGroup(ctx, "Team", "15550002", "15550003", "15550004")
	if err != nil {
		return nil, err
	}
	rows := make([]row, 0, 5)
	for _, m := range []struct {
		name string
		most float64
		do   func(i int) error
	}{
		{"receive", 3, w.receive(ctx)},
		{"send", 1, w.send(ctx, "15550002@s.whatsapp.net")},
		{"send_group", 0, w.send(ctx, group)},
	} {
		got, err := w.count(ctx, m.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		rows = append(rows, row{
			Name: "mongo_roundtrips_" + m.name, Value: got.keys, Unit: "round trips", N: tripMessages, Most: m.most,
			Note: fmt.Sprintf("of the key store, for %.1f calls; the event itself, with what follows: %.1f", got.calls, got.events),
		})
	}
	return rows, nil
}

// count does something once to warm up, and then again and again.
func (w *tripWorld) count(ctx context.Context, do func(i int) error) (counted, error) {
	const warm = 5
	var before counted
	for i := range warm + tripMessages {
		if i == warm {
			before = w.quiet(ctx)
		}
		if err := do(i); err != nil {
			return counted{}, err
		}
		if err := w.dev.WaitDrained(ctx); err != nil { // receipts of what was sent included
			return counted{}, err
		}
	}
	after := w.now()
	return counted{
		keys: (after.keys - before.keys) / tripMessages, events: (after.events - before.events) / tripMessages,
		calls: (after.calls - before.calls) / tripMessages,
	}, nil
}

// quiet waits until what was done before has no more consequences.
func (w *tripWorld) quiet(ctx context.Context) counted {
	for last := w.now(); ; {
		select {
		case <-ctx.Done():
			return last
		case <-time.After(500 * time.Millisecond):
		}
		now := w.now()
		if now == last {
			return now
		}
		last = now
	}
}

func (w *tripWorld) now() counted {
	w.trips.mu.Lock()
	defer w.trips.mu.Unlock()
	c := counted{keys: float64(w.trips.keys), events: float64(w.trips.events)}
	for n := range maps.Values(w.faults.Calls()) {
		c.calls += float64(n)
	}
	return c
}

func (w *tripWorld) receive(ctx context.Context) func(int) error {
	return func(i int) error {
		_, err := w.friend.SendText(ctx, "15550001", fmt.Sprint("message ", i))
		return err
	}
}

func (w *tripWorld) send(ctx context.Context, to string) func(int) error {
	render := whatsapp.Renderer{}
	return func(i int) error {
		address, payload, err := render.RenderText(to, fmt.Sprint("message ", i), nil, nil)
		if err != nil {
			return err
		}
		_, err = w.client.Send(ctx, whatsapp.Outgoing{ID: render.NewID(), To: address, Payload: payload})
		return err
	}
}

// open starts everything, and pairs the account.
func (w *tripWorld) open(ctx context.Context, server *mongoServer) (err error) {
	name, drop := server.database()
	w.ends = append(w.ends, drop)
	if w.store, err = mongo.Open(ctx, mongo.Config{URI: server.uri, Database: name}, mongo.Deps{Monitor: w.trips.monitor()}); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = w.store.Close() })
	if w.keys, err = devices.OpenMongo(ctx, w.store.Database(), devices.Deps{Faults: w.faults}); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = w.keys.Close() })
	if w.pipe, err = pipeline.New(pipeline.Config{}, pipeline.Deps{
		Store: w.store, Rules: noRules{}, Render: noReplies{}, Endpoints: oneEndpoint{},
	}); err != nil {
		return err
	}
	w.pipe.Start()
	w.ends = append(w.ends, func() { _ = w.pipe.Stop(context.Background()) })
	if err := w.pipe.Own(ctx, account, 1); err != nil {
		return err
	}
	if w.sim, err = simulator.New(simulator.Options{NoWelcome: true}); err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = w.sim.Close() })
	simulator.Trust(w.sim.RootKey())
	if err := w.sim.Start("127.0.0.1:0"); err != nil {
		return err
	}
	if w.net, err = whatsapp.Sandbox(ctx, w.sim.URL(), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	w.ends = append(w.ends, w.net.Close)
	for i, p := range []**simulator.Phone{&w.owner, &w.friend, new(*simulator.Phone), new(*simulator.Phone)} {
		if *p, err = w.sim.AddPhone(fmt.Sprintf("1555000%d", i+1), "Phone"); err != nil {
			return err
		}
	}
	return w.pair(ctx)
}

// pair shows a code to the owner's phone, and connects as the device that it links.
func (w *tripWorld) pair(ctx context.Context) error {
	fresh, err := w.keys.New(ctx, devices.Owner{Account: account, Epoch: 1})
	if err != nil {
		return err
	}
	var paired string
	first, err := w.connect(ctx, fresh, func(s whatsapp.Signal) error {
		switch s.Kind {
		case whatsapp.SignalQR:
			d, err := w.owner.LinkQR(ctx, s.Codes[0])
			w.dev = d
			return err
		case whatsapp.SignalPaired:
			paired = s.JID
		}
		return nil
	}, whatsapp.SignalPaired, whatsapp.SignalRestart) // in either order
	if err != nil {
		return err
	}
	if err := first.Close(ctx); err != nil {
		return err
	}
	dev, err := w.keys.Device(ctx, paired, devices.Owner{Account: account, Epoch: 1})
	if err != nil {
		return err
	}
	w.client, err = w.connect(ctx, dev, nil, whatsapp.SignalConnected)
	if err != nil {
		return err
	}
	w.ends = append(w.ends, func() { _ = w.client.Close(context.Background()) })
	return w.dev.WaitDrained(ctx)
}

// connect makes a connection, and waits until all of these signals have come of it.
func (w *tripWorld) connect(ctx context.Context, d *devices.Device, each func(whatsapp.Signal) error, until ...whatsapp.SignalKind) (*whatsapp.Meow, error) {
	signals := make(chan whatsapp.Signal, 64)
	c, err := whatsapp.New(whatsapp.Deps{
		Account: account, Device: d, HTTP: w.net.HTTP, Sends: w.store,
		Handler: func(ctx context.Context, ev *sdk.Event) error { return w.pipe.Append(ctx, ev) },
		Pairing: func(context.Context, string) error { return nil },
		Signal: func(s whatsapp.Signal) {
			select {
			case signals <- s:
			default: // nobody asks any more
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for len(until) > 0 {
		select {
		case s := <-signals:
			if each != nil {
				if err := each(s); err != nil {
					return nil, err
				}
			}
			until = slices.DeleteFunc(until, func(k whatsapp.SignalKind) bool { return k == s.Kind })
		case <-timeout.C:
			return nil, fmt.Errorf("no %s within 30 s", until[0])
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c, nil
}
