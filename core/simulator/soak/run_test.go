package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
)

// root is shared by all servers: what whatsmeow trusts is of the process.
var root = [32]byte{8: 9, 31: 64}

// ahead is how far a sender may be in front of the slowest.
const ahead = 40

// run is one schedule being carried out.
type run struct {
	t       *testing.T
	p       *plan
	dir     string
	clients []*client

	restart sync.RWMutex // held to use the server, exclusively to replace it
	srv     *simulator.Server
	calm    sync.RWMutex // held to send, exclusively by a step that wants silence

	mu      sync.Mutex
	changed chan struct{}
	sent    int
	holds   []*simulator.FaultRule
	hits    map[string]int
	broken  []string
	extra   []message // of steps that send one

	warnings warnings
	stops    int
}

func newRun(t *testing.T, p *plan) *run {
	r := &run{t: t, p: p, hits: map[string]int{}}
	if p.restarts {
		r.dir = t.TempDir()
	}
	r.startServer()
	t.Cleanup(func() { r.stopServer() })
	for _, number := range p.numbers() {
		_, err := r.srv.AddPhone(number, "Phone "+number)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, number := range p.clients {
		c := openClient(r, number)
		t.Cleanup(func() { _ = c.db.Close() })
		r.clients = append(r.clients, c)
		require.NoError(t, c.pair(ctx))
	}
	return r
}

func (r *run) startServer() {
	s, err := simulator.New(simulator.Options{
		Dir: r.dir, Root: &root, Linger: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&r.warnings, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(r.t, err)
	require.NoError(r.t, s.Start("127.0.0.1:0"))
	r.srv = s
	if os.Getenv("WILDCAT_SOAK_TRACE") != "" {
		s.Trace().Enable(1 << 20)
	}
}

// writeTrace leaves all stanzas of a failed schedule in a file, if it was asked for.
func (r *run) writeTrace() {
	dir := os.Getenv("WILDCAT_SOAK_TRACE")
	if dir == "" || !r.t.Failed() {
		return
	}
	var b strings.Builder
	stanzas, err := r.server().Trace().Stanzas(simulator.TraceFilter{})
	require.NoError(r.t, err)
	for _, s := range stanzas {
		fmt.Fprintf(&b, "%d %s conn %d %s %s %s\n%s\n", s.N, s.At.Format("15:04:05.000"), s.Conn, s.Direction, s.Device, s.Fault, s.XML)
	}
	b.WriteString(r.warnings.String())
	require.NoError(r.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("seed-%d.xml", r.p.seed)), []byte(b.String()), 0o600))
}

func (r *run) stopServer() {
	for _, rule := range r.srv.Faults() {
		r.count(rule)
	}
	if err := r.srv.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
	for _, v := range r.srv.Violations() {
		r.broken = append(r.broken, v.String())
	}
}

func (r *run) server() *simulator.Server {
	r.restart.RLock()
	defer r.restart.RUnlock()
	return r.srv
}

func (r *run) device(c *client) *simulator.Device { return r.server().Device(c.jid) }

func (r *run) count(rule *simulator.FaultRule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits[string(rule.Fault().Action)] += rule.Hits()
}

// progress wakes whoever waits for something to be sent or shown.
func (r *run) progress() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *run) wait(ctx context.Context, done func() bool) error {
	for {
		r.mu.Lock()
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if done() {
			return nil
		}
		timer := time.NewTimer(100 * time.Millisecond) // what phones show wakes nobody
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// all are the messages of the plan and of its steps.
func (r *run) all() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]message{}, r.p.messages...), r.extra...)
}

func (r *run) sentCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

// go_ carries the schedule out and checks what came of it.
func (r *run) go_() {
	ctx, cancel := context.WithTimeout(r.t.Context(), 40*time.Minute)
	defer cancel()
	lives, endLives := context.WithCancel(ctx)
	var alive, senders sync.WaitGroup
	for _, c := range r.clients {
		alive.Go(func() { c.live(lives) })
	}
	defer alive.Wait()
	defer endLives()
	for _, c := range r.clients {
		if _, err := c.ready(ctx); err != nil {
			r.t.Errorf("first login: %v", err)
		}
	}
	for _, c := range r.clients {
		for _, phone := range r.p.phones {
			r.converse(ctx, c, phone, true)
		}
	}
	for from := range len(r.p.clients) + len(r.p.phones) {
		senders.Go(func() { r.send(ctx, from) })
	}
	senders.Go(func() {
		for _, a := range r.p.actions {
			if r.wait(ctx, func() bool { return r.sentCount() >= a.at }) != nil {
				return
			}
			a.do.run(ctx, r)
		}
	})
	senders.Wait()
	r.settle(ctx)
}

// drain waits until every client has acknowledged everything. What a fault dropped comes
// with another login.
func (r *run) drain(ctx context.Context) bool {
	for _, c := range r.clients {
		for {
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			err := r.device(c).WaitDrained(short)
			cancel()
			if err == nil {
				_, err = c.ready(ctx)
			}
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				r.t.Errorf("no silence: %v, %d wait for %s", err, r.device(c).Pending(), c.jid)
				return false
			}
			r.device(c).Cut()
		}
	}
	return true
}

// converse sends a message each way and one more, each once the other end shows the last:
// sessions that are opened are then known at both ends.
func (r *run) converse(ctx context.Context, c *client, phone string, clientFirst bool) {
	byClient := clientFirst
	for range 3 {
		from, to := r.p.indexOf(c.number), phone
		if !byClient {
			from, to = r.p.indexOf(phone), c.number
		}
		r.mu.Lock()
		m := message{id: fmt.Sprintf("3EB1%08X%08X", r.p.seed, len(r.extra)), text: fmt.Sprint("extra ", len(r.extra)), from: from, to: to}
		r.extra = append(r.extra, m)
		r.mu.Unlock()
		var err error
		if byClient {
			if err = c.send(ctx, &m); err == nil {
				_, err = r.server().Phone(phone).WaitMessage(ctx, func(got simulator.Message) bool { return got.ID == m.id })
			}
		} else {
			if err = r.sendByPhone(ctx, &m); err == nil {
				err = r.wait(ctx, func() bool { return c.shows(m.id) })
			}
		}
		if err != nil {
			r.t.Errorf("%s and phone %s: message %s: %v", c.jid, phone, m.id, err)
			return
		}
		byClient = !byClient
	}
}

// send sends what one phone or client has to, in order.
func (r *run) send(ctx context.Context, from int) {
	for i := range r.p.messages {
		m := &r.p.messages[i]
		if m.from != from {
			continue
		}
		if r.wait(ctx, func() bool { return r.sentCount() >= i-ahead }) != nil {
			return
		}
		r.calm.RLock()
		var err error
		if r.p.isPhone(from) {
			err = r.sendByPhone(ctx, m)
		} else {
			err = r.clients[from].send(ctx, m)
		}
		r.calm.RUnlock()
		if err != nil {
			r.t.Errorf("send: %v", err)
			return
		}
		r.mu.Lock()
		r.sent++
		r.mu.Unlock()
		r.progress()
	}
}

func (r *run) sendByPhone(ctx context.Context, m *message) error {
	r.restart.RLock()
	defer r.restart.RUnlock()
	_, err := r.srv.Phone(r.p.number(m.from)).SendText(ctx, m.to, m.text, simulator.SendOptions{ID: m.id})
	return err
}

// settle ends all faults and waits until everything is shown and acknowledged.
func (r *run) settle(ctx context.Context) {
	for _, rule := range r.server().Faults() {
		r.count(rule)
	}
	r.server().ClearFaults()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var err error
	for cuts := 0; ctx.Err() == nil; cuts++ {
		// What was dropped waits for the next login.
		for _, c := range r.clients {
			r.device(c).Cut()
		}
		round, cancelRound := context.WithTimeout(ctx, 4*time.Second<<cuts) // longer each time: a slow machine needs it
		err = r.wait(round, func() bool { return r.missing() == nil })
		cancelRound()
		if err == nil {
			break
		}
	}
	if err != nil {
		// Not looked at again after it was well: a delayed receipt may be on its way to a client.
		r.t.Errorf("at the end: %v", errors.Join(r.missing(), err))
	}
	if err = r.server().Audit(); err != nil {
		r.t.Errorf("audit: %v", err)
	}
	for _, v := range r.server().Violations() {
		r.t.Errorf("invariant broken: %s", v)
	}
	r.writeTrace()
	for _, v := range r.broken {
		r.t.Errorf("invariant broken before a restart: %s", v)
	}
}

// missing says what is not shown yet, is shown twice, or still waits.
func (r *run) missing() error {
	var problems []error
	for _, c := range r.clients {
		want := map[string]string{}
		for _, m := range r.all() {
			if (m.to == c.number || r.p.number(m.from) == c.number) && r.clientAt(m.from) != c {
				want[m.id] = m.text
			}
		}
		c.mu.Lock()
		problems = append(problems, compare("client "+c.jid, want, c.shown))
		c.mu.Unlock()
		if n := r.device(c).Pending(); n > 0 {
			problems = append(problems, fmt.Errorf("%d stanzas wait for %s", n, c.jid))
		}
	}
	for _, number := range r.p.numbers() {
		want, got := map[string]string{}, map[string]string{}
		for _, m := range r.all() {
			if m.to == number || r.p.number(m.from) == number && !r.p.isPhone(m.from) {
				want[m.id] = m.text
			}
		}
		for _, m := range r.server().Phone(number).Received(0) {
			if _, twice := got[m.ID]; twice {
				problems = append(problems, fmt.Errorf("phone %s shows %s twice", number, m.ID))
			}
			got[m.ID] = m.Text
		}
		problems = append(problems, compare("phone "+number, want, got))
	}
	return errors.Join(problems...)
}

func (r *run) clientAt(from int) *client {
	if r.p.isPhone(from) {
		return nil
	}
	return r.clients[from]
}

func compare(who string, want, got map[string]string) error {
	var missing []string
	for id, text := range want {
		if got[id] != text {
			missing = append(missing, fmt.Sprintf("%s (%q, not %q)", id, text, got[id]))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s misses %d: %.400v", who, len(missing), missing)
	}
	if len(got) > len(want) {
		return fmt.Errorf("%s shows %d messages, want %d", who, len(got), len(want))
	}
	return nil
}

func (r *run) summary() string {
	lives, handled, copies := 0, 0, 0
	for _, c := range r.clients {
		lives, handled = lives+c.lives, handled+c.handled-len(c.shown)
	}
	for _, number := range r.p.numbers() {
		for _, m := range r.server().Phone(number).Received(0) {
			copies += m.Copies - 1
		}
	}
	stats := r.server().Stats()
	return fmt.Sprintf("%d connections, %d restarts, %d messages handled again, %d copies at phones, %d late acknowledgements, faults %v",
		lives, r.stops, handled, copies, stats.LateAcks, r.hits)
}
