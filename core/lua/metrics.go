package lua

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all Sets that were loaded with one registry.
type metrics struct {
	runs, killed *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	disabled     *prometheus.GaugeVec
}

// ruleMetrics are one rule's, looked up once.
type ruleMetrics struct {
	ok, failed, stopped prometheus.Counter
	// skipped counts events that the rule was not run over since it is disabled.
	skipped  prometheus.Counter
	duration prometheus.Observer
	disabled prometheus.Gauge
	killed   *prometheus.CounterVec
}

// unseen are metrics that nobody reads.
func unseen() *metrics {
	m, _ := newMetrics(nil) // registers nothing, and so cannot fail
	return m
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_rule_runs_total", Help: "Runs of a rule over an event, by result: ok, error or killed; disabled: it would have run, and was not.",
		}, []string{"rule", "result"}),
		killed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_rule_killed_total", Help: "Runs of a rule that a limit stopped.",
		}, []string{"rule", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wildcat_rule_duration_seconds", Help: "How long a rule took for an event.",
			Buckets: []float64{1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.25},
		}, []string{"rule"}),
		disabled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wildcat_rule_disabled", Help: "1 while a rule is disabled after failures.",
		}, []string{"rule"}),
	}
	if reg == nil {
		return m, nil
	}
	var err error
	m.runs = register(reg, m.runs, &err)
	m.killed = register(reg, m.killed, &err)
	m.duration = register(reg, m.duration, &err)
	m.disabled = register(reg, m.disabled, &err)
	return m, err
}

// register returns the collector that is registered already, from an earlier load.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, failed *error) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	if err != nil && *failed == nil {
		*failed = fmt.Errorf("register metric: %w", err)
	}
	return c
}

func (m *metrics) rule(name string) ruleMetrics {
	rm := ruleMetrics{
		ok: m.runs.WithLabelValues(name, "ok"), failed: m.runs.WithLabelValues(name, "error"),
		stopped: m.runs.WithLabelValues(name, "killed"), skipped: m.runs.WithLabelValues(name, "disabled"),
		duration: m.duration.WithLabelValues(name), disabled: m.disabled.WithLabelValues(name), killed: m.killed,
	}
	return rm
}

func (rm *ruleMetrics) record(f *Failure, seconds float64) {
	rm.duration.Observe(seconds)
	switch {
	case f == nil:
		rm.ok.Inc()
	case f.Killed == "":
		rm.failed.Inc()
	default:
		rm.stopped.Inc()
		rm.killed.WithLabelValues(f.Rule, f.Killed).Inc()
	}
}
