package mongo

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/event"
)

type metrics struct {
	reg      prometheus.Registerer
	flush    prometheus.Histogram
	batch    prometheus.Histogram
	commands *prometheus.CounterVec
}

// The first two have the names and the meaning that they have on SQLite, so that one
// dashboard serves both.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reg: reg,
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wildcat_store_commit_seconds",
			Help:    "Time that one group of writes took until the database had acknowledged it.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wildcat_store_batch_operations",
			Help:    "Operations that shared one group of writes.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_store_round_trips_total",
			Help: "Commands sent to the database.",
		}, []string{"command"}),
	}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all() {
		if err := reg.Register(c); err != nil {
			for _, done := range m.all()[:i] {
				reg.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.flush, m.batch, m.commands}
}

func (m *metrics) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		m.commands.WithLabelValues(e.CommandName).Inc()
	}}
}

func (m *metrics) flushed(ops int, took time.Duration) {
	m.flush.Observe(took.Seconds())
	m.batch.Observe(float64(ops))
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all() {
		m.reg.Unregister(c)
	}
}
