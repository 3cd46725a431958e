package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

// step is one thing that goes wrong.
type step struct {
	name string
	run  func(ctx context.Context, r *run)
}

// receiptTypes are those of ordinary receipts. A request to send a message again is not
// among them: who asks does so once, and its loss is the message's, on WhatsApp too.
var receiptTypes = []string{"-", "inactive", "sender"}

func pick[T any](random *rand.Rand, list ...T) T { return list[random.IntN(len(list))] }

// randomStep chooses what goes wrong next.
func randomStep(random *rand.Rand, p *plan) step {
	who := random.IntN(len(p.clients))
	seed := random.Uint64()
	f := simulator.Fault{Seed: seed, Times: 1 + random.IntN(4), Probability: pick(random, 0, 0.3, 0.6)}
	switch n := random.IntN(100); {
	case n < 12:
		return step{fmt.Sprint("cut ", who), func(_ context.Context, r *run) { r.device(r.clients[who]).Cut() }}
	case n < 17:
		code := pick(random, 503, 515, 516)
		return step{fmt.Sprint("stream error ", code, " for ", who), func(_ context.Context, r *run) {
			r.device(r.clients[who]).StreamError(code)
		}}
	case n < 20:
		return step{fmt.Sprint("handler of ", who, " refuses a message"), func(_ context.Context, r *run) {
			r.clients[who].set(func() { r.clients[who].refuse++ })
		}}
	case n < 22 && p.restarts:
		return step{"restart", restart}
	case n < 30:
		return step{"release what is held", release}
	case n < 33:
		return step{"end all faults", func(_ context.Context, r *run) {
			for _, rule := range r.server().Faults() {
				r.count(rule)
			}
			r.server().ClearFaults()
		}}
	case n < 41:
		dir := pick(random, simulator.In, simulator.Out)
		return step{fmt.Sprint("corrupt a message ", dir, " of ", who, ", in silence"), func(ctx context.Context, r *run) {
			corrupt(ctx, r, who, dir)
		}}
	case n < 50:
		f.Action = pick(random, simulator.FaultLoginFailure, simulator.FaultSocketStatus, simulator.FaultHandshakeSpoil,
			simulator.FaultHandshakeHalf, simulator.FaultNoLinger)
		if f.Action == simulator.FaultLoginFailure {
			f.Code = pick(random, 500, 503)
		}
	case n < 56:
		f.Action, f.Code = pick(random, simulator.FaultAckError, simulator.FaultIQError), 500
		if f.Action == simulator.FaultIQError {
			f.XMLNS = pick(random, "usync", "passive", "privacy") // without keys whatsmeow leaves a device out, and calls it sent
		}
	case n < 60:
		f.Action, f.Times, f.Probability = simulator.FaultDeduplicate, 0, 0
	default:
		f.Action = pick(random, simulator.FaultDrop, simulator.FaultDrop, simulator.FaultDelay, simulator.FaultDuplicate,
			simulator.FaultHold, simulator.FaultCutBefore, simulator.FaultCutAfter)
		f.Direction = pick(random, simulator.In, simulator.Out)
		f.Tag = pick(random, "message", "message", "receipt", "ack", "iq", "notification")
		if f.Tag == "notification" {
			f.Direction = simulator.Out
		}
		if f.Tag == "receipt" && f.Direction == simulator.In {
			f.Type = pick(random, receiptTypes...)
		}
		f.DelayMS, f.JitterMS, f.Copies = 1+random.IntN(50), random.IntN(100), random.IntN(3)
		if f.Action == simulator.FaultHold {
			f.ReleaseAt, f.Order = random.IntN(5), pick(random, simulator.AsHeld, simulator.Reversed, simulator.Shuffled)
		}
		if f.Action == simulator.FaultCutBefore || f.Action == simulator.FaultCutAfter {
			f.Times = 1
		}
	}
	if random.IntN(2) == 0 && f.Action != simulator.FaultSocketStatus && f.Action != simulator.FaultHandshakeSpoil &&
		f.Action != simulator.FaultHandshakeHalf {
		f.Device = p.clients[who]
	}
	return step{describe(&f), func(_ context.Context, r *run) { add(r, f) }}
}

func describe(f *simulator.Fault) string {
	return fmt.Sprintf("%s %s <%s type=%q xmlns=%q> device %q code %d, %d times, probability %v, delay %d+%d, copies %d, release at %d",
		f.Action, f.Direction, f.Tag, f.Type, f.XMLNS, f.Device, f.Code, f.Times, f.Probability, f.DelayMS, f.JitterMS, f.Copies, f.ReleaseAt)
}

func add(r *run, f simulator.Fault) {
	rule, err := r.server().AddFault(f)
	if err != nil {
		r.t.Errorf("%s: %v", describe(&f), err)
		return
	}
	if f.Action == simulator.FaultHold {
		r.mu.Lock()
		r.holds = append(r.holds, rule)
		r.mu.Unlock()
	}
}

func release(_ context.Context, r *run) {
	r.mu.Lock()
	holds := r.holds
	r.holds = nil
	r.mu.Unlock()
	for _, rule := range holds {
		rule.Release(simulator.Shuffled)
		r.count(rule)
		rule.Remove()
	}
}

// corrupt spoils one ciphertext while nothing else happens. Asking for a message again opens
// a new session, and messages that cross it in the old one are lost to libsignal, on both sides.
func corrupt(ctx context.Context, r *run, who int, dir simulator.Direction) {
	r.calm.Lock()
	defer r.calm.Unlock()
	release(ctx, r)
	for _, rule := range r.server().Faults() {
		r.count(rule)
	}
	r.server().ClearFaults()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	c := r.clients[who]
	if !r.drain(ctx) {
		return
	}
	rule, err := r.server().AddFault(simulator.Fault{
		Action: simulator.FaultMutate, Mutation: "corrupt-ciphertext", Direction: dir, Device: c.jid, Tag: "message", Times: 1,
	})
	if err != nil {
		r.t.Errorf("corrupt: %v", err)
		return
	}
	r.converse(ctx, c, r.p.phones[0], dir == simulator.In)
	r.count(rule)
	rule.Remove()
	r.drain(ctx)
}

func restart(_ context.Context, r *run) {
	release(context.Background(), r)
	r.restart.Lock()
	defer r.restart.Unlock()
	r.stopServer()
	r.startServer()
	r.stops++
}
