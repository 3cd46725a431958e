package sqlite

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	reg   prometheus.Registerer
	flush prometheus.Histogram
	batch prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reg: reg,
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wildcat_store_commit_seconds",
			Help:    "Time that one write transaction took, its fsync included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wildcat_store_batch_operations",
			Help:    "Operations that shared one write transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
	}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.flush); err != nil {
		return nil, err
	}
	if err := reg.Register(m.batch); err != nil {
		reg.Unregister(m.flush)
		return nil, err
	}
	return m, nil
}

func (m *metrics) flushed(ops int, took time.Duration) {
	m.flush.Observe(took.Seconds())
	m.batch.Observe(float64(ops))
}

func (m *metrics) unregister() {
	if m.reg != nil {
		m.reg.Unregister(m.flush)
		m.reg.Unregister(m.batch)
	}
}
