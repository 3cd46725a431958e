package page

import (
	"fmt"
	"net/http"
	"time"
)

// lookEvery is how often a viewer's pages are looked at for changes.
const lookEvery = 200 * time.Millisecond

// events tells a page, as server-sent events, that it is worth fetching again.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	number := r.URL.Query().Get("phone")
	last, quiet := p.state(number), 0
	if _, err := fmt.Fprint(w, "retry: 1000\nevent: change\ndata: \n\n"); err != nil || rc.Flush() != nil {
		return
	}
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-ticks.C:
		}
		text := ""
		if state := p.state(number); state != last {
			last, quiet, text = state, 0, "event: change\ndata: \n\n"
		} else if quiet++; quiet%75 == 0 {
			text = ": here\n\n" // so that a viewer that is gone is noticed
		}
		if text == "" {
			continue
		}
		if _, err := fmt.Fprint(w, text); err != nil || rc.Flush() != nil {
			return
		}
	}
}

// state is other whenever what a page shows is. On the page of one phone the others matter
// by their names only.
func (p *page) state(number string) [6]uint64 {
	var out [6]uint64
	for _, phone := range p.s.Phones() {
		out[0]++
		for _, d := range phone.Companions() {
			out[1] = out[1]*31 + uint64(d.JID().Device)
			out[2] += d.Logins() << 8
			if d.Online() {
				out[2]++
			}
			if number == phone.Number() {
				out[3] += uint64(d.Pending())
			}
		}
		if number == phone.Number() {
			out[4] = phone.Changes()
		}
	}
	for _, g := range p.s.Groups() {
		out[3] += uint64(len(g.Members))<<32 + uint64(len(g.Subject)+len(g.Description)+len(g.Requests))<<24
	}
	stats := p.s.Stats()
	out[5] = stats.Received<<16 + stats.Sent + uint64(stats.Violations)
	return out
}
