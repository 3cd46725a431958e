package pipeline

import (
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// replyLimit bounds automatic replies per chat and minute, so that two bots that
// answer each other do not do so for ever. In memory: a restart begins a new minute.
type replyLimit struct {
	mu      sync.Mutex
	windows map[store.ChatRef]window
}

type window struct {
	start time.Time
	n     int
}

func newReplyLimit() *replyLimit {
	return &replyLimit{windows: make(map[store.ChatRef]window)}
}

// take takes the allowance for what one rule wants to send, all of it or nothing; most is
// how much one chat may have in a minute.
func (l *replyLimit) take(account string, sends []plannedSend, now time.Time, most int) bool {
	if most <= 0 {
		return true
	}
	want := make(map[store.ChatRef]int)
	for _, s := range sends {
		want[store.ChatRef{Account: account, Chat: s.Chat}]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, n := range want {
		if w := l.windows[ref]; n > most || now.Sub(w.start) < time.Minute && w.n+n > most {
			return false
		}
	}
	for ref, n := range want {
		w := l.windows[ref]
		if now.Sub(w.start) >= time.Minute {
			w = window{start: now}
		}
		w.n += n
		l.windows[ref] = w
	}
	if len(l.windows) > 10_000 {
		for k, old := range l.windows {
			if now.Sub(old.start) >= time.Minute {
				delete(l.windows, k)
			}
		}
	}
	return true
}
