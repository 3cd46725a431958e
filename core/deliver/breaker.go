package deliver

import "time"

const (
	// breakerRow is how many failures in a row open the breaker.
	breakerRow = 5
	// breakerMin is from how many attempts in a minute half of them failing opens it.
	breakerMin = 20
)

// breaker decides whether an endpoint is worth trying. It knows no lock and no clock.
type breaker struct {
	probes []time.Duration
	open   bool
	since  time.Time
	// at is when the next probe may start, step how many have failed.
	at   time.Time
	step int

	row     int
	seconds [60]second
}

// second counts the attempts of one second, of the last minute.
type second struct {
	unix    int64
	ok, bad int
}

func (b *breaker) count(now time.Time, ok bool) {
	s := &b.seconds[uint64(now.Unix())%60]
	if s.unix != now.Unix() {
		*s = second{unix: now.Unix()}
	}
	if ok {
		s.ok++
	} else {
		s.bad++
	}
}

func (b *breaker) minute(now time.Time) (ok, bad int) {
	for _, s := range b.seconds {
		if age := now.Unix() - s.unix; age >= 0 && age < 60 {
			ok += s.ok
			bad += s.bad
		}
	}
	return ok, bad
}

// success notes an attempt that the endpoint took, and reports whether that closed the breaker.
func (b *breaker) success(now time.Time) (closed bool) {
	b.row = 0
	if b.open {
		b.shut()
		return true
	}
	b.count(now, true)
	return false
}

// failure notes one that failed, and reports whether that opened the breaker. Only
// probes move the time of the next probe: what was under way when it opened tells nothing new.
func (b *breaker) failure(now time.Time, probe bool) (opened bool) {
	if b.open {
		if probe {
			b.step++
			b.at = now.Add(b.delay())
		}
		return false
	}
	b.row++
	b.count(now, false)
	ok, bad := b.minute(now)
	if b.row < breakerRow && (ok+bad < breakerMin || bad < ok) {
		return false
	}
	b.trip(now, now)
	return true
}

// trip opens the breaker.
func (b *breaker) trip(since, now time.Time) {
	b.open, b.since, b.step = true, since, 0
	b.at = now.Add(b.delay())
}

// shut closes it and forgets what it counted.
func (b *breaker) shut() { *b = breaker{probes: b.probes} }

func (b *breaker) delay() time.Duration { return b.probes[min(b.step, len(b.probes)-1)] }
