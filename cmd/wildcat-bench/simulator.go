package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

const (
	crowdAccounts = 100
	crowdEach     = 30 // messages of each account
	crowdWarm     = 5  // uncounted: each account writes to five others for the first time
)

// crowdFirst is the number of the crowd's first account.
const crowdFirst = "15570000000"

// simulator measures the sandbox itself, in a process of its own, against bare clients in
// another: what a connected client holds in memory on both sides, and the processor time of both for one
// message. Each message is handed to the other's client, the other's phone and the writer's phone.
func (b *bench) simulator(ctx context.Context) ([]row, error) {
	w, err := b.newWorld(ctx, "simulator")
	if err != nil {
		return nil, err
	}
	defer func() { w.close() }()
	empty, err := w.memory(ctx)
	if err != nil {
		return nil, err
	}
	for i := range crowdAccounts {
		if err := w.sandbox.AddPhone(ctx, next(crowdFirst, i), "Crowd"); err != nil {
			return nil, err
		}
	}
	// Once to pair, once to read one client's memory, and both processes anew for the rest: what
	// pairing leaves behind is not counted.
	if _, err := w.crowdMemory(ctx, crowdAccounts); err != nil {
		return nil, err
	}
	one, err := w.crowdMemory(ctx, 1)
	if err != nil {
		return nil, err
	}
	if err := w.restartSandbox(ctx); err != nil {
		return nil, err
	}
	paired, err := w.memory(ctx)
	if err != nil {
		return nil, err
	}
	p, err := w.startCrowd(ctx, crowdAccounts)
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Stop(30 * time.Second) }()
	all, err := askCrowd(ctx, p, "/connect")
	if err != nil {
		return nil, err
	}
	connected, err := w.memory(ctx)
	if err != nil {
		return nil, err
	}
	const n = crowdAccounts
	rows := []row{
		memoryRow("sandbox_account_kib", "state of a paired account in the sandbox, its prekeys most of all", paired, empty, n),
		memoryRow("sandbox_client_kib", "a connected client in the sandbox, on top of its account", connected, paired, n),
		memoryRow("client_kib", "a connected whatsmeow client in its own process", all, one, n-1),
	}
	cpu, err := w.exchange(ctx, p)
	return append(rows, cpu...), err
}

// memory is what a process holds: heap and stacks after a garbage collection, and what is resident.
type memory struct{ inUse, resident float64 }

func memoryRow(name, note string, with, without memory, n int) row {
	return row{
		Name: name, Value: (with.inUse - without.inUse) / float64(n), Unit: "KiB", N: n,
		Note: fmt.Sprintf("heap and stack after a collection: %s; resident %.0f KiB", note, (with.resident-without.resident)/float64(n)),
	}
}

func (w *world) memory(ctx context.Context) (memory, error) {
	var m crowdReport
	if err := getJSON(ctx, w.process.URL+"/sandbox/memory", &m); err != nil {
		return memory{}, err
	}
	return memory{float64(m.Heap+m.Stack) / 1024, residentKiB(w.process.PID())}, nil
}

func (w *world) restartSandbox(ctx context.Context) error {
	if err := w.process.Stop(20 * time.Second); err != nil {
		return err
	}
	p, err := w.b.startSandbox(ctx, w.dir)
	if err != nil {
		return err
	}
	w.process, w.sandbox = p, scenario.NewSandbox(p.URL)
	return nil
}

func (w *world) startCrowd(ctx context.Context, count int) (*scenario.Process, error) {
	return scenario.StartProcess(ctx, scenario.Command{
		Name: "the crowd", Exe: w.b.self,
		Args: []string{"crowd", "-url", w.process.URL, "-dir", filepath.Join(w.dir, "crowd"), "-number", crowdFirst, "-count", fmt.Sprint(count)},
	})
}

// crowdMemory connects some of the crowd, and pairs those that are new, for as long as it takes to read.
func (w *world) crowdMemory(ctx context.Context, count int) (memory, error) {
	p, err := w.startCrowd(ctx, count)
	if err != nil {
		return memory{}, err
	}
	m, err := askCrowd(ctx, p, "/connect")
	return m, errors.Join(err, p.Stop(30*time.Second))
}

func askCrowd(ctx context.Context, p *scenario.Process, path string) (memory, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+path, nil)
	if err != nil {
		return memory{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return memory{}, fmt.Errorf("ask the crowd: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return memory{}, fmt.Errorf("ask the crowd: %s %s", path, resp.Status)
	}
	var m crowdReport
	err = json.NewDecoder(resp.Body).Decode(&m)
	return memory{float64(m.Heap+m.Stack) / 1024, residentKiB(p.PID())}, err
}

// sandboxStats is what the exchange reads of GET /sandbox/stats.
type sandboxStats struct {
	Queued     uint64 `json:"queued"`
	Acked      uint64 `json:"acked"`
	Pending    int    `json:"pending"`
	Violations int    `json:"violations"`
}

// exchange lets the crowd write and checks that every stanza was acknowledged once.
func (w *world) exchange(ctx context.Context, p *scenario.Process) ([]row, error) {
	if _, err := askCrowd(ctx, p, fmt.Sprintf("/exchange?run=warm&each=%d", crowdWarm)); err != nil {
		return nil, err
	}
	start := time.Now()
	sandbox, clients := cpuSeconds(w.process.PID()), cpuSeconds(p.PID())
	if _, err := askCrowd(ctx, p, fmt.Sprintf("/exchange?run=counted&each=%d", crowdEach)); err != nil {
		return nil, err
	}
	if err := scenario.Until(ctx, time.Minute, func() error {
		var s sandboxStats
		if err := getJSON(ctx, w.process.URL+"/sandbox/stats", &s); err != nil {
			return err
		}
		if s.Pending != 0 {
			return fmt.Errorf("%d stanzas are not acknowledged", s.Pending)
		}
		if s.Violations != 0 || s.Acked < s.Queued {
			return fmt.Errorf("%d stanzas queued, %d acknowledged, %d invariants broken", s.Queued, s.Acked, s.Violations)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	sandbox, clients = cpuSeconds(w.process.PID())-sandbox, cpuSeconds(p.PID())-clients
	const n = crowdAccounts * crowdEach
	took := time.Since(start)
	return []row{
		{Name: "sandbox_message_cpu_us", Value: sandbox / n * 1e6, Unit: "µs", N: n, Note: "of the sandbox, its two phones of each message included"},
		{
			Name: "client_message_cpu_us", Value: clients / n * 1e6, Unit: "µs", N: n,
			Note: fmt.Sprintf("of both clients together; %.0f messages a second, each handed over and acknowledged once", n/took.Seconds()),
		},
	}, nil
}
