package deliver

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// metrics is what this package tells Prometheus. An endpoint's label is its id, since
// names need not be unique. The other labels are bounded: words
// that a connector chose freely appear as "other".
type metrics struct {
	attempts  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	latency   *prometheus.HistogramVec
	dead      *prometheus.CounterVec
	fenceLost prometheus.Counter
	flush     prometheus.Histogram
}

// endpointMetrics saves looking the hot ones up for each attempt.
type endpointMetrics struct {
	duration, latency prometheus.Observer
	ok                prometheus.Counter // result ok, class 2xx
}

func newMetrics(reg prometheus.Registerer, o *Outbox) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_delivery_attempts_total", Help: "Delivery attempts by endpoint, result (ok, retry, reject, disable) and class of answer.",
		}, []string{"endpoint", "result", "class"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wildcat_attempt_duration_seconds", Help: "How long delivery attempts took.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 60},
		}, []string{"endpoint"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wildcat_delivery_latency_seconds", Help: "From the event to its successful delivery.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 15, 60, 300, 1800, 7200, 43200, 172800},
		}, []string{"endpoint"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_dead_total", Help: "Deliveries buried, by reason.",
		}, []string{"reason"}),
		fenceLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wildcat_fence_lost_total", Help: "Outcomes discarded because the delivery had been changed by someone else.",
		}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wildcat_store_flush_seconds", Help: "How long it took to make a bulk of outcomes durable.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 14),
		}),
	}
	for _, c := range []prometheus.Collector{m.attempts, m.duration, m.latency, m.dead, m.fenceLost, m.flush, &gauges{o: o}} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register delivery metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) endpoint(id string) endpointMetrics {
	return endpointMetrics{
		duration: m.duration.WithLabelValues(id),
		latency:  m.latency.WithLabelValues(id),
		ok:       m.attempts.WithLabelValues(id, "ok", "2xx"),
	}
}

// forget drops an endpoint's series.
func (m *metrics) forget(id string) {
	l := prometheus.Labels{"endpoint": id}
	m.attempts.DeletePartialMatch(l)
	m.duration.DeletePartialMatch(l)
	m.latency.DeletePartialMatch(l)
}

// attempt counts one attempt; latency, in seconds, matters if it succeeded.
func (m *metrics) attempt(ep *endpoint, a attempt, f *store.DeliveryFinish, latency float64) {
	ep.metrics.duration.Observe(a.took.Seconds())
	class := class(a.result)
	if a.result.Status == sdk.OK && class == "2xx" {
		ep.metrics.ok.Inc()
	} else {
		m.attempts.WithLabelValues(ep.ID, a.result.Status.String(), class).Inc()
	}
	switch f.State {
	case store.DeliveryOK:
		ep.metrics.latency.Observe(latency)
	case store.DeliveryDead:
		m.dead.WithLabelValues(known(f.Reason)).Inc()
	}
}

// class groups answers: by hundreds, or by what kept one from coming.
func class(r sdk.Result) string {
	if r.Code >= 100 && r.Code < 600 {
		return string(rune('0'+r.Code/100)) + "xx"
	}
	if r.Code == 0 && r.Status == sdk.OK {
		return "2xx"
	}
	return known(r.Reason)
}

// known keeps the reasons whose number is bounded.
func known(reason string) string {
	switch reason {
	case reasonExhausted, reasonPanic, reasonGone,
		"timeout", "network", "dns", "tls", "redirect", "egress_blocked", "aborted", "gone",
		"bad_request", "unauthorized", "forbidden", "not_found", "rate_limited", "unavailable",
		"server_error", "client_error", "rejected":
		return reason
	}
	return "other"
}

// gauges reads what is now from the outbox when it is scraped.
type gauges struct{ o *Outbox }

var (
	descBacklog = prometheus.NewDesc("wildcat_backlog", "Stored deliveries by endpoint and state, counted now and then.", []string{"endpoint", "state"}, nil)
	descOldest  = prometheus.NewDesc("wildcat_oldest_pending_seconds", "Age of the oldest queued delivery.", []string{"endpoint"}, nil)
	descFlying  = prometheus.NewDesc("wildcat_inflight", "Delivery attempts under way.", []string{"endpoint"}, nil)
	descBreaker = prometheus.NewDesc("wildcat_breaker_state", "0 closed, 1 open (only probes are sent), 2 disabled.", []string{"endpoint"}, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBacklog, descOldest, descFlying, descBreaker} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	o := g.o
	now := o.now()
	states := []store.DeliveryState{store.DeliveryQueued, store.DeliveryParked, store.DeliveryDead}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// Under one lock with those that are there: no endpoint may be shown as both.
	for _, m := range o.missed() {
		for _, s := range states {
			gauge(descBacklog, float64(m.Counts[s]), m.ID, string(s))
		}
		gauge(descOldest, age(m.OldestQueued, now), m.ID)
	}
	for _, ep := range o.order {
		if o.endpoints[ep.ID] != ep {
			continue // on its way out, while its successor is here
		}
		for _, s := range states {
			gauge(descBacklog, float64(ep.counts.by[s]), ep.ID, string(s))
		}
		gauge(descOldest, age(ep.counts.oldest, now), ep.ID)
		gauge(descFlying, float64(ep.flying), ep.ID)
		state := 0.0
		if ep.breaker.open {
			state = 1
		}
		if ep.disabled {
			state = 2
		}
		gauge(descBreaker, state, ep.ID)
	}
}

// age is how long ago a time was, in seconds; 0 for none.
func age(at, now time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(now.Sub(at).Seconds(), 0)
}
