package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

// intakeMessages wait, encrypted, in the sandbox's offline queue in each run.
const intakeMessages = 1500

// mongoMessages are fewer: the fake server takes its time.
const mongoMessages = 300

// sample is one drain of the offline queue.
type sample struct {
	perSecond float64
	cpuMicros float64 // of the client process, per message
}

// intake measures how fast waiting messages are stored and acknowledged, from login to
// the last acknowledgement, against a bare whatsmeow client with the same configuration of
// its device store.
func (b *bench) intake(ctx context.Context) ([]row, error) {
	w, err := b.newWorld(ctx, "intake")
	if err != nil {
		return nil, err
	}
	defer w.close()
	hub, _, err := w.pairHub(ctx, hubNumber)
	if err != nil {
		return nil, err
	}
	if err := hub.Stop(15 * time.Second); err != nil {
		return nil, err
	}
	if err := w.pairBare(ctx, bareNumber); err != nil {
		return nil, err
	}
	if err := w.pairBare(ctx, guardedNumber, "-guard"); err != nil {
		return nil, err
	}
	var onMongo *world
	if b.mongo != nil {
		other, end, err := w.onMongo()
		if err != nil {
			return nil, err
		}
		defer end()
		p, _, err := other.pairHub(ctx, mongoNumber)
		if err != nil {
			return nil, err
		}
		if err := p.Stop(15 * time.Second); err != nil {
			return nil, err
		}
		onMongo = other
	}
	contenders := []contender{
		{"bare", bareNumber, intakeMessages, func() (*scenario.Process, error) { return w.startBare(ctx, bareNumber, 1) }},
		{"guarded", guardedNumber, intakeMessages, func() (*scenario.Process, error) { return w.startBare(ctx, guardedNumber, 1, "-guard") }},
		{"hub", hubNumber, intakeMessages, func() (*scenario.Process, error) {
			p, _, err := w.startHub(ctx)
			return p, err
		}},
	}
	if onMongo != nil {
		contenders = append(contenders, contender{"mongo", mongoNumber, mongoMessages, func() (*scenario.Process, error) {
			p, _, err := onMongo.startHub(ctx)
			return p, err
		}})
	}
	// One uncounted run each: sessions are set up, files are grown.
	for _, c := range contenders {
		if _, err := w.drain(ctx, c); err != nil {
			return nil, err
		}
	}
	var mongoRatios []float64
	var ratios, guarded, floors, guardedFloors, cpu, bareCPU []float64
	for i := range b.pairs {
		got := map[string]sample{}
		for k := range contenders { // each goes first and last equally often
			c := contenders[(i+k)%len(contenders)]
			if got[c.name], err = w.drain(ctx, c); err != nil {
				return nil, err
			}
		}
		hub, bare := got["hub"], got["bare"]
		b.logf("intake: bare %.0f/s %.0f µs, guarded %.0f/s %.0f µs, hub %.0f/s %.0f µs", bare.perSecond, bare.cpuMicros,
			got["guarded"].perSecond, got["guarded"].cpuMicros, hub.perSecond, hub.cpuMicros)
		ratios = append(ratios, hub.perSecond/bare.perSecond)
		mongoRatios = append(mongoRatios, got["mongo"].perSecond/bare.perSecond)
		guarded = append(guarded, hub.perSecond/got["guarded"].perSecond)
		floors = append(floors, bare.perSecond)
		guardedFloors = append(guardedFloors, got["guarded"].perSecond)
		cpu = append(cpu, hub.cpuMicros)
		bareCPU = append(bareCPU, bare.cpuMicros)
	}
	rows := []row{
		{
			Name: "intake_vs_whatsmeow", Ratio: median(ratios), Floor: median(floors), Unit: "messages/s", N: len(ratios), Spread: spread(ratios), Target: 0.6,
			Note: "offline queue: login → last acknowledgement; three rules and one webhook",
		},
		{
			Name: "intake_vs_guarded", Ratio: median(guarded), Floor: median(guardedFloors), Unit: "messages/s", N: len(guarded), Spread: spread(guarded),
			Note: "the same, and the bare client has the hub's guard around its device store",
		},
		{
			Name: "intake_cpu_us", Value: median(cpu), Floor: median(bareCPU), Unit: "µs CPU/message", N: len(cpu), Spread: spread(cpu),
			Note: "whole process: storing, rules and the webhook included",
		},
	}
	if b.mongo != nil {
		rows = append(rows, row{
			Name: "intake_mongo_vs_whatsmeow", Ratio: median(mongoRatios), Floor: median(floors), Unit: "messages/s", N: len(mongoRatios), Spread: spread(mongoRatios),
			Note: fmt.Sprintf("the same, %d messages, stored on %s", mongoMessages, b.mongo.what),
		})
	}
	return rows, nil
}

// contender is a client whose intake is timed.
type contender struct {
	name, number string
	messages     int
	start        func() (*scenario.Process, error)
}

// drain queues messages for a device that is offline, starts its client, and waits
// until the sandbox has every acknowledgement.
func (w *world) drain(ctx context.Context, c contender) (sample, error) {
	batch := make([]scenario.Outgoing, c.messages)
	for i := range batch {
		batch[i] = scenario.Outgoing{From: stranger(i % strangers), To: c.number, Text: fmt.Sprintf("message %d, of about the length that people write", i)}
	}
	if err := w.sandbox.SendBatch(ctx, batch); err != nil {
		return sample{}, err
	}
	p, err := c.start()
	if err != nil {
		return sample{}, err
	}
	var d device
	err = scenario.Until(ctx, 2*time.Minute, func() error {
		if d, err = w.device(ctx, c.number); err != nil {
			return err
		}
		if d.Pending > 0 || !d.Online {
			return fmt.Errorf("%d messages wait", d.Pending)
		}
		return nil
	})
	cpu := cpuSeconds(p.PID())
	if serr := p.Stop(20 * time.Second); err == nil {
		err = serr
	}
	took := time.Duration(d.LastAckNS - d.LastLoginNS)
	return sample{
		perSecond: float64(c.messages) / took.Seconds(),
		cpuMicros: cpu * 1e6 / float64(c.messages),
	}, err
}

func (w *world) bareDir(number string) string { return filepath.Join(w.dir, "bare-"+number) }

// latency measures from a stranger's sending to the webhook, at 100 messages a second.
func (b *bench) latency(ctx context.Context) ([]row, error) {
	w, err := b.newWorld(ctx, "latency")
	if err != nil {
		return nil, err
	}
	defer w.close()
	hub, _, err := w.pairHub(ctx, hubNumber)
	if err != nil {
		return nil, err
	}
	const n, warm, gap = 1200, 200, 10 * time.Millisecond
	sent := make(map[string]time.Time, n)
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for i := range n {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		text := fmt.Sprintf("m%05d", i)
		sent[text] = time.Now()
		if _, err := w.sandbox.Send(ctx, stranger(i%strangers), hubNumber, text); err != nil {
			return nil, err
		}
	}
	err = scenario.Until(ctx, time.Minute, func() error {
		if got := len(w.hook.Arrivals()); got < n {
			return fmt.Errorf("%d of %d arrived", got, n)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var ms []float64
	for _, a := range w.hook.Arrivals() {
		var i int
		if _, err := fmt.Sscanf(a.Text, "m%05d", &i); err == nil && i >= warm {
			ms = append(ms, float64(a.At.Sub(sent[a.Text]).Microseconds())/1000)
		}
	}
	note := "sending phone → webhook received, encryption by the phone included, 100 messages a second"
	return []row{
		{Name: "webhook_latency_p50_ms", Value: quantile(ms, 0.5), Unit: "ms", N: len(ms), Spread: spread(ms), Note: note},
		{Name: "webhook_latency_p99_ms", Value: quantile(ms, 0.99), Unit: "ms", N: len(ms), Spread: spread(ms), Note: note},
	}, hub.Stop(15 * time.Second)
}
