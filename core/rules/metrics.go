package rules

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// What came of a change of the rules: label values of wildcat_rules_reloads_total.
const (
	resultOK       = "ok"       // a reload or rollback that was asked for here
	resultFailed   = "failed"   // one that changed nothing
	resultFollowed = "followed" // a change that was made on another hub
	resultRefused  = "refused"  // one that this hub cannot load
)

type metrics struct {
	reloads *prometheus.CounterVec
	info    *prometheus.GaugeVec
	number  prometheus.Gauge
	behind  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_rules_reloads_total", Help: "Changes of the rules, by result: ok, failed, followed (made on another hub) or refused (made there, but not usable here).",
		}, []string{"result"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wildcat_rules_info", Help: "1, with the version of the rules in force on this hub.",
		}, []string{"version"}),
		number: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wildcat_rules_version", Help: "The number of the change of the rules that is in force on this hub; the same on all hubs.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wildcat_rules_behind", Help: "1 while other rules are in force than this hub can load.",
		}),
	}
	for _, result := range []string{resultOK, resultFailed, resultFollowed, resultRefused} {
		m.reloads.WithLabelValues(result)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.reloads, m.info, m.number, m.behind} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metric: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) inForce(v Version) {
	m.info.Reset()
	m.info.WithLabelValues(v.Version).Set(1)
	m.number.Set(float64(v.Number))
	m.behind.Set(0)
}
