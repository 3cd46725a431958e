package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/api"
)

const (
	// nudgeDelay is how long the first lane to tell of waits for company.
	nudgeDelay = 15 * time.Millisecond
	// nudgeLanes bounds how many are named at once. Beyond, the other hub looks itself.
	nudgeLanes = 512
	// nudgeTimeout bounds one message: the other hub finds by itself within a second or so
	// what it is not told of.
	nudgeTimeout = 2 * time.Second
	// nudgeIdle is how long what is needed to tell a hub is kept.
	nudgeIdle = time.Minute
)

// nudges tells other hubs of deliveries that are theirs to make. Nobody waits for it, and what
// fails is not repeated: all that it says is in the database.
type nudges struct {
	self  string
	post  func(ctx context.Context, hub string, n api.Nudge) error
	log   *slog.Logger
	count *prometheus.CounterVec

	quit chan struct{}
	once sync.Once
	done sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	to      map[string]*nudging // by hub
}

// nudging is what a hub is to be told.
type nudging struct {
	lanes map[api.NudgeLane]struct{}
	more  bool
	wake  chan struct{}
}

func newNudges(a *App) (*nudges, error) {
	n := &nudges{
		self: a.instance, post: a.peers.nudge, log: a.deps.Logger.With("component", "nudge"),
		quit: make(chan struct{}), to: map[string]*nudging{},
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_nudges_total", Help: "Messages to other hubs about deliveries that are theirs to make, by result (ok, failed: the hub finds them by itself).",
		}, []string{"result"}),
	}
	for _, result := range []string{"ok", "failed"} {
		n.count.WithLabelValues(result) // 0 is shown, too: so an alarm has something to compare
	}
	if err := a.metrics.Register(n.count); err != nil {
		return nil, fmt.Errorf("register nudge metrics: %w", err)
	}
	return n, nil
}

// add notes a lane to tell a hub of. It does not block.
func (n *nudges) add(hub string, lane api.NudgeLane) {
	if hub == "" || hub == n.self {
		return // whoever takes the partition looks
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return
	}
	t := n.to[hub]
	if t == nil {
		t = &nudging{lanes: map[api.NudgeLane]struct{}{}, wake: make(chan struct{}, 1)}
		n.to[hub] = t
		n.done.Go(func() { n.tell(hub, t) })
	}
	if len(t.lanes) < nudgeLanes {
		t.lanes[lane] = struct{}{}
	} else {
		t.more = true
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tell sends what there is to one hub, until there was nothing for long.
func (n *nudges) tell(hub string, t *nudging) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n.done.Go(func() {
		select {
		case <-n.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	failing := false
	for {
		idle := time.NewTimer(nudgeIdle)
		select {
		case <-ctx.Done():
			idle.Stop()
			return
		case <-t.wake:
			idle.Stop()
		case <-idle.C:
			n.mu.Lock()
			over := len(t.lanes) == 0
			if over {
				delete(n.to, hub)
			}
			n.mu.Unlock()
			if over {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nudgeDelay):
		}
		news := n.take(t)
		if len(news.Lanes) == 0 {
			continue // it went with what was told before
		}
		pctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
		err := n.post(pctx, hub, news)
		cancel()
		switch {
		case err == nil:
			failing = false
			n.count.WithLabelValues("ok").Inc()
		case ctx.Err() == nil:
			n.count.WithLabelValues("failed").Inc()
			if !failing {
				n.log.Warn("hub was not told of deliveries, and will find them by itself", "hub", hub, "err", err)
			}
			failing = true
		}
	}
}

func (n *nudges) take(t *nudging) api.Nudge {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := api.Nudge{More: t.more}
	for l := range t.lanes {
		out.Lanes = append(out.Lanes, l)
	}
	clear(t.lanes)
	t.more = false
	return out
}

// stop ends it. Safe twice.
func (n *nudges) stop() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.once.Do(func() { close(n.quit) })
	n.done.Wait()
}

// nudge tells a hub of deliveries, over REST, as all that hubs ask of each other.
func (p *peers) nudge(ctx context.Context, hub string, n api.Nudge) error {
	at, err := p.address(ctx, hub)
	if err != nil {
		return err
	}
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode nudge: %w", err)
	}
	u, err := url.Parse(at)
	if err != nil {
		return fmt.Errorf("address of hub %s: %w", hub, err)
	}
	u = u.JoinPath(api.NudgePath)
	u.RawQuery = api.NudgeQuery(body).Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("nudge hub %s: %w", hub, err)
	}
	req.Header.Set("Content-Type", "application/json")
	p.Vouch(req, hub)
	res, err := p.client.RoundTrip(req)
	if err != nil {
		p.forgetAddress(hub)
		return fmt.Errorf("nudge hub %s: %w", hub, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10))
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		p.forgetAddress(hub)
		return fmt.Errorf("nudge hub %s: it answered %d", hub, res.StatusCode)
	}
	return nil
}

// knownFor is how long a hub's address is taken from memory.
const knownFor = 10 * time.Second

// known is an address, as it was read at a time.
type known struct {
	url  string
	read time.Time
}

// address is where a hub is reached.
func (p *peers) address(ctx context.Context, hub string) (string, error) {
	p.mu.Lock()
	k, ok := p.known[hub]
	p.mu.Unlock()
	if ok && time.Since(k.read) < knownFor {
		return k.url, nil
	}
	at, err := p.store.GetKV(ctx, peerNamespace, hub)
	if err != nil {
		return "", fmt.Errorf("address of hub %s: %w", hub, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]known{}
	}
	p.known[hub] = known{url: string(at), read: time.Now()}
	return string(at), nil
}

func (p *peers) forgetAddress(hub string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, hub)
}
