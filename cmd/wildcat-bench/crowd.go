package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/devices"
)

// crowd is a process of bare whatsmeow clients that write to each other when they are told
// to over HTTP: POST /connect pairs or connects them, POST /exchange lets them write.
type crowd struct {
	url, first string
	count      int
	keys       *devices.Container
	transport  *http.Transport
	members    []*crowdMember
}

type crowdMember struct {
	*whatsmeow.Client
	number string
	ready  chan struct{}
	once   sync.Once

	mu      sync.Mutex
	got     map[string]int // by text
	total   int
	changed chan struct{}
}

// crowdReport is what both requests answer.
type crowdReport struct {
	Messages int    `json:"messages"`
	Heap     uint64 `json:"heap_bytes"` // after a garbage collection
	Stack    uint64 `json:"stack_bytes"`
}

func runCrowd(args []string) error {
	fs := flag.NewFlagSet("crowd", flag.ContinueOnError)
	c := &crowd{}
	fs.StringVar(&c.url, "url", "", "the sandbox")
	dir := fs.String("dir", "", "data folder")
	fs.StringVar(&c.first, "number", "", "number of the first account")
	fs.IntVar(&c.count, "count", 1, "how many accounts, of consecutive numbers")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	var err error
	if c.transport, err = sandboxTransport(ctx, c.url); err != nil {
		return err
	}
	if c.keys, err = devices.Open(ctx, filepath.Join(*dir, "devices.db"), devices.Deps{}); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, do := range map[string]func(context.Context, *http.Request) (int, error){
		"POST /connect":  func(context.Context, *http.Request) (int, error) { return 0, c.connect(ctx) },
		"POST /exchange": c.exchange,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			n, err := do(r.Context(), r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			_ = json.NewEncoder(w).Encode(crowdReport{n, m.HeapAlloc, m.StackInuse}) // the parent is gone if this fails
		})
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	fmt.Printf("crowd listening on http://%s\n", ln.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's end of the pipe is the lifeline
	err = srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	for _, m := range c.members {
		m.Disconnect()
	}
	return errors.Join(err, c.keys.Close())
}

// connect pairs the accounts that are new, and connects all.
func (c *crowd) connect(ctx context.Context) error {
	paired, err := c.keys.List(ctx)
	if err != nil {
		return err
	}
	for i := range c.count {
		var d *devices.Device
		if i < len(paired) {
			d, err = c.keys.Device(ctx, paired[i], devices.Owner{})
		} else {
			d, err = c.keys.New(ctx, devices.Owner{})
		}
		if err != nil {
			return err
		}
		m := &crowdMember{
			Client: whatsmeow.NewClient(d.Store, waLog.Noop), got: map[string]int{},
			ready: make(chan struct{}), changed: make(chan struct{}),
		}
		client := &http.Client{Transport: c.transport}
		m.SetWebsocketHTTPClient(client)
		m.SetPreLoginHTTPClient(client)
		m.SetMediaHTTPClient(client)
		m.SynchronousAck, m.EnableDecryptedEventBuffer = true, true
		m.AddEventHandlerWithSuccessStatus(m.take)
		if i < len(paired) {
			err = m.Connect()
		} else {
			err = pair(ctx, m.Client, c.url, next(c.first, i))
		}
		if err != nil {
			return fmt.Errorf("account %d: %w", i, err)
		}
		select {
		case <-m.ready:
		case <-time.After(time.Minute):
			return fmt.Errorf("account %d did not connect", i)
		}
		m.number = m.Store.ID.User
		c.members = append(c.members, m)
	}
	return nil
}

func (m *crowdMember) take(evt any) bool {
	switch e := evt.(type) {
	case *events.Connected:
		m.once.Do(func() { close(m.ready) })
	case *events.Message:
		if e.Message.Conversation == nil {
			break
		}
		m.mu.Lock()
		m.got[e.Message.GetConversation()]++
		m.total++
		close(m.changed)
		m.changed = make(chan struct{})
		m.mu.Unlock()
	}
	return true
}

// exchange lets every account write as many messages as the query says, in two turns, since
// whatsmeow may not write while it reads: first every other one, then the rest. It returns once each message
// was handed over, and fails when one was not, or twice.
func (c *crowd) exchange(ctx context.Context, r *http.Request) (int, error) {
	var each int
	run := r.URL.Query().Get("run")
	if _, err := fmt.Sscanf(r.URL.Query().Get("each"), "%d", &each); err != nil || len(c.members)%2 != 0 {
		return 0, fmt.Errorf("each: %w", err)
	}
	for _, m := range c.members {
		m.mu.Lock()
		m.got, m.total = map[string]int{}, 0
		m.mu.Unlock()
	}
	half := len(c.members) / 2
	for turn := range 2 {
		errs := make(chan error, half)
		for i := range half {
			go func() { errs <- c.write(ctx, 2*i+turn, i, turn, each, run) }()
		}
		var err error
		for range half {
			err = errors.Join(err, <-errs)
		}
		if err != nil {
			return 0, err
		}
		for i := range half {
			if err := c.members[2*i+1-turn].waitFor(ctx, each); err != nil {
				return 0, err
			}
		}
	}
	sent := 0
	for i, m := range c.members {
		m.mu.Lock()
		for text, n := range m.got {
			if sent += n; n != 1 {
				m.mu.Unlock()
				return 0, fmt.Errorf("account %d was handed %q %d times", i, text, n)
			}
		}
		m.mu.Unlock()
	}
	if sent != each*len(c.members) {
		return 0, fmt.Errorf("%d messages were handed over, %d written", sent, each*len(c.members))
	}
	return sent, nil
}

// write sends one account's messages, to five others in turn; each of the others is written
// to as often.
func (c *crowd) write(ctx context.Context, from, place, turn, each int, run string) error {
	half := len(c.members) / 2
	for k := range each {
		to := c.members[2*((place+k%min(5, half))%half)+1-turn]
		text := fmt.Sprintf("%s %d %d", run, from, k)
		ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
		_, err := c.members[from].SendMessage(ctx, types.NewJID(to.number, types.DefaultUserServer),
			&waE2E.Message{Conversation: proto.String(text)})
		cancel()
		if err != nil {
			return fmt.Errorf("account %d: message %d: %w", from, k, err)
		}
	}
	return nil
}

func (m *crowdMember) waitFor(ctx context.Context, want int) error {
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	for {
		m.mu.Lock()
		total, changed := m.total, m.changed
		m.mu.Unlock()
		if total >= want {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return fmt.Errorf("%s was handed %d of %d messages", m.number, total, want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
