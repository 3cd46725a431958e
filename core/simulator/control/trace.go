package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

type stanzaList struct {
	Stanzas []simulator.Stanza `json:"stanzas" doc:"the oldest first"`
}

func traceQuery() []queryParam {
	return []queryParam{
		{"device", "string", "a number, for all its companions, or one device's JID"},
		{"direction", "string", "in, from clients, or out"},
		{"after", "integer", "only stanzas numbered above this"},
	}
}

func filterOf(r *http.Request) (simulator.TraceFilter, error) {
	q := r.URL.Query()
	f := simulator.TraceFilter{Device: q.Get("device"), Direction: simulator.Direction(q.Get("direction"))}
	switch f.Direction {
	case "", simulator.In, simulator.Out:
	default:
		return f, badRequest("bad_direction", "direction: want in or out")
	}
	if v := q.Get("after"); v != "" {
		after, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return f, badRequest("bad_after", "after: want a number of a stanza")
		}
		f.After = after
	}
	return f, nil
}

func (a *api) trace(r *http.Request) (stanzaList, error) {
	filter, err := filterOf(r)
	if err != nil {
		return stanzaList{}, err
	}
	list, err := a.s.Trace().Stanzas(filter)
	if err != nil || len(list) > 0 {
		return stanzaList{list}, err
	}
	live, err := a.s.Trace().Subscribe(filter, 1)
	if err != nil {
		return stanzaList{}, err
	}
	defer live.Close()
	out := stanzaList{[]simulator.Stanza{}}
	err = waiting(r, func(ctx context.Context) error {
		// Once more, for what came before the view was there.
		if list, err := a.s.Trace().Stanzas(filter); err != nil || len(list) > 0 {
			out.Stanzas = list
			return err
		}
		select {
		case s := <-live.C:
			out.Stanzas = append(out.Stanzas, s)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return out, err
}

type keep struct {
	Keep int `json:"keep" doc:"how many stanzas are kept; 0 turns the trace off"`
}

// maxKeep bounds what a request may make the trace keep.
const maxKeep = 1 << 20

func (a *api) keepTrace(_ *http.Request, in keep) (keep, error) {
	if in.Keep < 0 || in.Keep > maxKeep {
		return keep{}, badRequest("bad_keep", "keep: want 0 to "+strconv.Itoa(maxKeep))
	}
	a.s.Trace().Enable(in.Keep)
	return keep{a.s.Trace().Enabled()}, nil
}

// live sends stanzas as server-sent events until the reader goes: what is kept, and what comes.
func (a *api) live(w http.ResponseWriter, r *http.Request) error {
	filter, err := filterOf(r)
	if err != nil {
		return err
	}
	if v := r.Header.Get("Last-Event-ID"); v != "" { // a browser that comes back
		if filter.After, err = strconv.ParseUint(v, 10, 64); err != nil {
			return badRequest("bad_after", "Last-Event-ID: want a number of a stanza")
		}
	}
	live, err := a.s.Trace().Subscribe(filter, 4096)
	if err != nil {
		return err
	}
	defer live.Close()
	kept, err := a.s.Trace().Stanzas(filter)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	rc := http.NewResponseController(w)
	var last uint64
	send := func(s simulator.Stanza) error {
		if s.N <= last { // it was among those that were kept, too
			return nil
		}
		last = s.N
		raw, err := json.Marshal(s)
		if err == nil {
			_, err = fmt.Fprintf(w, "id: %d\nevent: stanza\ndata: %s\n\n", s.N, raw)
		}
		return err
	}
	for _, s := range kept {
		if send(s) != nil {
			return nil
		}
	}
	beat := time.NewTicker(15 * time.Second) // shows whether the reader is still there
	defer beat.Stop()
	for rc.Flush() == nil {
		select {
		case <-r.Context().Done():
			return nil
		case s := <-live.C:
			if send(s) != nil {
				return nil
			}
		case <-beat.C:
			if _, err := fmt.Fprint(w, ": here\n\n"); err != nil {
				return nil // the reader is gone
			}
		}
	}
	return nil
}
