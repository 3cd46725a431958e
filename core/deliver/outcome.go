package deliver

import (
	"strconv"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	// maxAfter bounds what a receiver may ask us to wait.
	maxAfter = 24 * time.Hour
	// maxBody is how much of a receiver's answer is kept.
	maxBody = 4 << 10
)

// The reasons that this package itself gives.
const (
	reasonExhausted = "exhausted"
	reasonPanic     = "panic"
	reasonGone      = "event_gone"
	reasonNoSuccess = "no_success"
)

// attempt is one finished call of a connector.
type attempt struct {
	at     time.Time
	took   time.Duration
	result sdk.Result
	// probe says that it was made because the breaker was open.
	probe bool
	// own says that the connector was not asked: nothing was learned about the endpoint.
	own bool
}

// outcome is what follows from an attempt.
type outcome struct {
	finish store.DeliveryFinish
	// kind and same go on counting equal failures.
	kind string
	same int
	// pause holds the whole endpoint back.
	pause time.Duration
	// alive and failed are what the breaker hears; neither is possible.
	alive, failed bool
}

// policy is how an endpoint retries.
type policy struct {
	retry    []time.Duration
	ordering config.Ordering
}

func (p policy) stepAfter() int {
	switch p.ordering {
	case config.OrderingStrict:
		return never
	case config.OrderingNone:
		return 1
	default:
		return stepAfter
	}
}

// decide turns an attempt into its outcome. rnd is in [0, 1).
func (p policy) decide(it *item, a attempt, rnd float64) outcome {
	now := a.at.Add(a.took)
	r := a.result
	if r.Status > sdk.Disable {
		r.Status = sdk.Retry // a word of tomorrow never loses an event
	}
	if len(r.Body) > maxBody {
		r.Body = r.Body[:maxBody]
	}
	// A probe that came before its time spends no attempt: an outage must not use up
	// in minutes the schedule that is meant to last for days.
	early := a.probe && it.due.After(a.at)
	counted := r.Status != sdk.Retry || (!r.Uncounted && !early)
	n := it.attempt
	if counted {
		n++
	}
	o := outcome{
		finish: store.DeliveryFinish{
			ID: it.id, Generation: it.generation, Attempt: it.attempt,
			Reason: r.Reason, Stepped: it.stepped, Counted: counted, At: now,
			Record: &store.Attempt{
				N: it.attempt + 1, Generation: it.generation, At: a.at, Took: a.took,
				Status: r.Status.String(), Code: r.Code, Reason: r.Reason, Body: r.Body,
			},
		},
	}
	f := &o.finish
	switch r.Status {
	case sdk.OK:
		f.State, f.Reason = store.DeliveryOK, ""
		o.alive = true
		return o
	case sdk.Reject:
		f.State = store.DeliveryDead
		if f.Reason == "" {
			f.Reason = "rejected"
		}
		o.alive = !a.own
		return o
	case sdk.Disable:
		f.State = store.DeliveryParked
		f.Counted = false
		return o
	}

	o.kind, o.same = failureKind(r.Code, r.Reason), 1
	if o.kind == it.kind {
		o.same = it.same + 1
	}
	after := min(max(r.After, 0), maxAfter)
	if after > 0 && (r.Uncounted || r.Code == 503) {
		o.pause = after
	}
	// An answer about this one event says nothing bad about the endpoint.
	o.alive = r.Limit > 0
	o.failed = !o.alive && !r.Uncounted

	switch {
	case r.Limit > 0 && o.same >= r.Limit:
		f.State = store.DeliveryDead
		return o
	case counted && n > len(p.retry):
		f.State, f.Reason = store.DeliveryDead, reasonExhausted
		return o
	}
	f.State = store.DeliveryQueued
	f.Stepped = it.stepped || n >= p.stepAfter()
	f.Due = p.due(now, it, n, counted, early, after, rnd)
	return o
}

func (p policy) due(now time.Time, it *item, n int, counted, early bool, after time.Duration, rnd float64) time.Time {
	switch pause := now.Add(after); {
	case early && it.due.After(pause):
		return it.due
	case early, !counted && after > 0:
		return pause
	}
	// n counts this attempt only if it was counted, so that an uncounted one waits
	// as long as the next counted one would.
	i := n
	if counted {
		i--
	}
	base := time.Second // what spent no attempt of a schedule that has no second one
	if len(p.retry) > 0 {
		base = p.retry[min(i, len(p.retry)-1)]
	}
	return now.Add(max(jitter(base, rnd), after))
}

// jitter spreads d over [0.5 d, 1.5 d), so that what failed together does not return together.
func jitter(d time.Duration, rnd float64) time.Duration {
	return time.Duration((0.5 + rnd) * float64(d))
}

func failureKind(code int, reason string) string {
	return strconv.Itoa(code) + " " + reason
}
