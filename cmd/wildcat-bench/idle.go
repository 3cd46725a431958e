package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

const idleAccounts = 50

// idle measures what a connected, idle account holds in memory: the slope of the
// process's resident memory from 1 account to 50, after each rested for a while; and
// the same of bare whatsmeow clients.
func (b *bench) idle(ctx context.Context) ([]row, error) {
	w, err := b.newWorld(ctx, "idle")
	if err != nil {
		return nil, err
	}
	defer w.close()
	hubSlope, err := w.hubSlope(ctx)
	if err != nil {
		return nil, err
	}
	bareSlope, err := w.bareSlope(ctx)
	if err != nil {
		return nil, err
	}
	return []row{{
		Name: "idle_account_kib", Value: hubSlope, Floor: bareSlope, Unit: "KiB/account", N: idleAccounts - 1,
		Note: fmt.Sprintf("slope of resident memory from 1 to %d accounts; the floor is bare whatsmeow clients", idleAccounts),
	}}, nil
}

// rest is how long accounts are idle before memory is read: garbage is collected at
// least every two minutes by the runtime, and sooner under pressure; both sides rest alike.
const rest = 20 * time.Second

func idleNumber(base, i int) string { return fmt.Sprint(15_560_000_000 + base + i) }

func (w *world) hubSlope(ctx context.Context) (float64, error) {
	var first float64
	p, hub, err := w.startHub(ctx)
	if err != nil {
		return 0, err
	}
	for i := range idleAccounts {
		number := idleNumber(0, i)
		if err := w.sandbox.AddPhone(ctx, number, "Idle"); err != nil {
			return 0, err
		}
		if err := scenario.Pair(ctx, hub, w.sandbox, fmt.Sprintf("idle%d", i), number); err != nil {
			return 0, err
		}
		if i == 0 {
			if first, err = w.restarted(ctx, &p, 1); err != nil {
				return 0, err
			}
			hub = scenario.NewHub(p.URL)
		}
	}
	last, err := w.restarted(ctx, &p, idleAccounts)
	if err != nil {
		return 0, err
	}
	return (last - first) / (idleAccounts - 1), p.Stop(20 * time.Second)
}

// restarted starts the hub anew, so that the memory of pairing is not counted, and
// reads its memory once its accounts are connected and have rested.
func (w *world) restarted(ctx context.Context, p **scenario.Process, accounts int) (float64, error) {
	if err := (*p).Stop(20 * time.Second); err != nil {
		return 0, err
	}
	next, hub, err := w.startHub(ctx)
	if err != nil {
		return 0, err
	}
	*p = next
	for i := range accounts {
		if err := scenario.WaitConnected(ctx, hub, fmt.Sprintf("idle%d", i)); err != nil {
			return 0, err
		}
	}
	return residentAfterRest(ctx, next)
}

func residentAfterRest(ctx context.Context, p *scenario.Process) (float64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(rest):
	}
	kib := residentKiB(p.PID())
	if kib == 0 {
		return 0, errors.New("resident memory cannot be read on this platform")
	}
	return kib, nil
}

func (w *world) bareSlope(ctx context.Context) (float64, error) {
	for i := range idleAccounts {
		if err := w.sandbox.AddPhone(ctx, idleNumber(1000, i), "Bare"); err != nil {
			return 0, err
		}
	}
	first := idleNumber(1000, 0)
	// The first run pairs, the others only connect.
	read := func(count int, settle bool) (float64, error) {
		p, err := w.startBare(ctx, first, count)
		if err != nil {
			return 0, err
		}
		var kib float64
		if settle {
			kib, err = residentAfterRest(ctx, p)
		}
		return kib, errors.Join(err, p.Stop(20*time.Second))
	}
	if _, err := read(idleAccounts, false); err != nil {
		return 0, err
	}
	one, err := read(1, true)
	if err != nil {
		return 0, err
	}
	all, err := read(idleAccounts, true)
	return (all - one) / (idleAccounts - 1), err
}
