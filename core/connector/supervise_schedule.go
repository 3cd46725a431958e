package connector

import "time"

const (
	crashLoop   = 5                // failures …
	crashWindow = 10 * time.Minute // … within so long are a crash loop
)

// schedule decides when a program that ended is started again. It knows no clock
// and no process.
type schedule struct {
	t      Timing
	random func() float64 // [0,1)

	streak   int // failures since it was last healthy
	recent   []time.Time
	halfOpen bool // it has FAILED, and every start is a trial
}

// next takes the failure at now of a program that had been ready for healthy (0 if
// it never was) and returns how long to wait, and whether it counts as FAILED.
func (s *schedule) next(now time.Time, healthy time.Duration, permanent bool) (wait time.Duration, failed bool) {
	if healthy >= s.t.Healthy {
		s.streak, s.recent, s.halfOpen = 0, nil, false
	}
	s.recent = append(s.recent, now)
	for len(s.recent) > 0 && now.Sub(s.recent[0]) > crashWindow {
		s.recent = s.recent[1:]
	}
	if permanent || s.halfOpen || len(s.recent) >= crashLoop {
		s.halfOpen, s.recent = true, nil
		return s.t.HalfOpen, true
	}
	s.streak++
	if s.streak == 1 {
		return 0, false
	}
	wait = s.t.Backoff << min(s.streak-2, 16)
	wait = min(wait, s.t.MaxBackoff)
	return time.Duration(float64(wait) * (0.8 + 0.4*s.random())), false
}
