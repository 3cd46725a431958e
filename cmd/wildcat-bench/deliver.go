package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/egress"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/plugins"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	deliverEvents = 12_000
	// mongoEvents are fewer: the fake server takes its time.
	mongoEvents  = 2_000
	deliverChats = 64
	// inFlight is the webhook connector's own bound, and so the floor's concurrency.
	inFlight    = 16
	benchSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" //nolint:gosec // the published test secret
)

// deliver measures events from their append to the durable end of their delivery,
// synchronous=FULL, against a loop that signs and posts the same body to the same
// receiver with the same concurrency and keeps nothing.
func (b *bench) deliver(ctx context.Context) ([]row, error) {
	url, stop, err := startSink(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var ratios, onMongo, floors []float64
	for i := range b.pairs {
		var loop, hub, other float64
		order := []func() error{
			func() (err error) { loop, err = postLoop(ctx, url); return err },
			func() (err error) { hub, err = b.onSQLite(ctx, url, i); return err },
		}
		if b.mongo != nil {
			order = append(order, func() (err error) { other, err = b.onMongo(ctx, url); return err })
		}
		for k := range order {
			if err := order[(i+k)%len(order)](); err != nil {
				return nil, err
			}
		}
		b.logf("deliver: loop %.0f/s, hub %.0f/s, on MongoDB %.0f/s", loop, hub, other)
		ratios = append(ratios, hub/loop)
		onMongo = append(onMongo, other/loop)
		floors = append(floors, loop)
	}
	rows := []row{{
		Name: "deliver_vs_post_loop", Ratio: median(ratios), Floor: median(floors), Unit: "deliveries/s", N: len(ratios), Spread: spread(ratios), Target: 0.15,
		Note: fmt.Sprintf("append → durable finish, %d events of %d chats, synchronous=FULL", deliverEvents, deliverChats),
	}}
	if b.mongo != nil {
		rows = append(rows, row{
			Name: "deliver_mongo_vs_post_loop", Ratio: median(onMongo), Floor: median(floors), Unit: "deliveries/s", N: len(onMongo), Spread: spread(onMongo),
			Note: fmt.Sprintf("the same, %d events, on %s", mongoEvents, b.mongo.what),
		})
	}
	return rows, nil
}

// startSink answers every POST with 200.
func startSink(ctx context.Context) (url string, stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var buf [4096]byte
		for {
			if _, err := r.Body.Read(buf[:]); err != nil {
				break
			}
		}
		w.WriteHeader(http.StatusOK)
	})}
	go func() { _ = srv.Serve(ln) }()
	return "http://" + ln.Addr().String() + "/hook", func() { _ = srv.Close() }, nil
}

func webhookConnector(url string) (sdk.Connector, error) {
	guard, err := egress.New(egress.Config{AllowLoopback: true})
	if err != nil {
		return nil, err
	}
	c := plugins.Builtin(plugins.Deps{HTTP: &http.Client{Transport: guard.Transport()}})["webhook"]()
	with, err := json.Marshal(map[string]any{"url": url, "secret": benchSecret})
	if err != nil {
		return nil, err
	}
	return c, c.Configure(with)
}

func benchEvent(i int) *sdk.Event {
	chat := fmt.Sprintf("1555%07d@s.whatsapp.net", i%deliverChats)
	id := fmt.Sprintf("3EB0%018d", i)
	now := time.Now()
	return &sdk.Event{
		Type: sdk.TypeMessage, Account: account, Chat: chat, WAID: id, Time: now,
		Message: &sdk.Message{
			ID: id, Chat: chat, From: chat, SenderPN: chat, Name: "Stranger", Time: now, Kind: sdk.KindText,
			Text: "a message of about the length that people write to a shop",
		},
	}
}

// postLoop is the floor: the same connector, called with nothing around it.
func postLoop(ctx context.Context, url string) (float64, error) {
	c, err := webhookConnector(url)
	if err != nil {
		return 0, err
	}
	if err := c.Start(ctx, nil); err != nil {
		return 0, err
	}
	defer func() { _ = c.Stop(ctx) }()
	var next atomic.Int64
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range inFlight {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1))
				if i > deliverEvents {
					return
				}
				ev := benchEvent(i)
				ev.ID, ev.Seq = fmt.Sprintf("%032x", i), uint64(i) //nolint:gosec // positive
				if r := c.Deliver(ctx, sdk.Delivery{Event: ev, Attempt: 1, Ordered: true}); r.Status != sdk.OK {
					failed.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	if n := failed.Load(); n > 0 {
		return 0, fmt.Errorf("%d posts of the floor failed", n)
	}
	return deliverEvents / time.Since(start).Seconds(), nil
}

type noRules struct{}

func (noRules) Acquire() pipeline.InForce { return pipeline.InForce{} }

type oneEndpoint struct{}

func (oneEndpoint) Match(*sdk.Event) []pipeline.EndpointRef {
	return []pipeline.EndpointRef{{ID: "connector:bench", Name: "bench"}}
}

type noReplies struct{}

func (noReplies) RenderText(string, string, *sdk.Message, []string) (string, []byte, error) {
	return "", nil, fmt.Errorf("no rule replies here")
}

// onSQLite measures deliveries on a file.
func (b *bench) onSQLite(ctx context.Context, url string, i int) (float64, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("deliver-%d", i))
	defer os.RemoveAll(dir)
	st, err := sqlite.Open(ctx, sqlite.Config{Dir: dir, ReadyLog: true}, sqlite.Deps{})
	if err != nil {
		return 0, err
	}
	defer st.Close()
	return outbox(ctx, url, st, deliverEvents)
}

// onMongo measures deliveries on the MongoDB server.
func (b *bench) onMongo(ctx context.Context, url string) (float64, error) {
	name, drop := b.mongo.database()
	defer drop()
	st, err := mongo.Open(ctx, mongo.Config{URI: b.mongo.uri, Database: name}, mongo.Deps{})
	if err != nil {
		return 0, err
	}
	defer st.Close()
	return outbox(ctx, url, st, mongoEvents)
}

// outbox runs the hub's own pipeline and outbox on a store.
func outbox(ctx context.Context, url string, st store.Store, events int) (float64, error) {
	c, err := webhookConnector(url)
	if err != nil {
		return 0, err
	}
	if err := c.Start(ctx, nil); err != nil {
		return 0, err
	}
	defer func() { _ = c.Stop(ctx) }()
	out, err := deliver.New(deliver.Config{}, deliver.Deps{Store: st, Events: st, Epoch: 1})
	if err != nil {
		return 0, err
	}
	if err := out.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { _ = out.Stop(ctx) }()
	out.AddEndpoint(deliver.Endpoint{ID: "connector:bench", Name: "bench", Connector: c, Ordering: config.OrderingBounded})
	p, err := pipeline.New(pipeline.Config{}, pipeline.Deps{
		Store: st, Rules: noRules{}, Render: noReplies{}, Endpoints: oneEndpoint{}, Deliveries: out.Enqueue,
	})
	if err != nil {
		return 0, err
	}
	p.Start()
	defer func() { _ = p.Stop(ctx) }()
	if err := p.Own(ctx, account, 1); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := appendAll(ctx, p, events); err != nil {
		return 0, err
	}
	for {
		counts, _, err := st.CountDeliveries(ctx, "connector:bench")
		if err != nil {
			return 0, err
		}
		if counts[store.DeliveryOK] == events {
			return float64(events) / time.Since(start).Seconds(), nil
		}
		if dead := counts[store.DeliveryDead]; dead > 0 || time.Since(start) > 3*time.Minute {
			return 0, fmt.Errorf("deliveries did not finish: %v", counts)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// appendAll appends each chat's events in order, the chats side by side.
func appendAll(ctx context.Context, p *pipeline.Pipeline, events int) error {
	errs := make(chan error, deliverChats)
	for chat := range deliverChats {
		go func() {
			for i := chat; i < events; i += deliverChats {
				if err := p.Append(ctx, benchEvent(i)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range deliverChats {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
