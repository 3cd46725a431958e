package pipeline

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/sdk"
)

type metrics struct {
	registerer prometheus.Registerer
	events     *prometheus.CounterVec
	lag        *prometheus.HistogramVec
	unrouted   *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	m := &metrics{
		registerer: r,
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_events_total", Help: "Events handed over, by type and result (stored, duplicate, refused).",
		}, []string{"type", "result"}),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wildcat_pipeline_stage_lag_seconds", Help: "Time from the append of an event to the end of a stage.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 14),
		}, []string{"stage"}),
		unrouted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_rule_unrouted_total", Help: "Events that a rule routed to a connector that does not get them.",
		}, []string{"rule"}),
	}
	for _, c := range []prometheus.Collector{m.events, m.lag, m.unrouted} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("pipeline metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) event(t sdk.EventType, result string) {
	m.events.WithLabelValues(string(t), result).Inc()
}

func (m *metrics) settled(lag time.Duration) {
	m.lag.WithLabelValues("done").Observe(lag.Seconds())
}

// lanes exports how many chats have events to settle.
func (m *metrics) lanes(count func() int) {
	_ = m.registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wildcat_pipeline_lanes", Help: "Chats that have events to settle.",
	}, func() float64 { return float64(count()) }))
}
