package account

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	state      *prometheus.GaugeVec
	reconnects *prometheus.CounterVec
	away       prometheus.Gauge
	outages    prometheus.Counter
	leases     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wildcat_account_state", Help: "1 for the state that an account is in.",
		}, []string{"account", "state"}),
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_account_reconnects_total", Help: "Connections that ended and are made anew, by reason.",
		}, []string{"account", "reason"}),
		away: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wildcat_store_outage", Help: "1 while the database cannot be written and accounts are disconnected for it.",
		}),
		outages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wildcat_store_outages_total", Help: "Times that the database could not be written.",
		}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_account_leases_total",
			Help: "Leases of accounts among several hubs, by what became of them (taken, let_go, lost: another hub had it, ran_out: not renewed in time).",
		}, []string{"result"}),
	}
	for _, result := range []string{"taken", "let_go", "lost", "ran_out"} {
		m.leases.WithLabelValues(result) // 0 is shown, too: so an alarm has something to compare
	}
	for _, c := range []prometheus.Collector{m.state, m.reconnects, m.away, m.outages, m.leases} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register account metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) moved(account, from, to string) {
	if from != "" {
		m.state.DeleteLabelValues(account, from)
	}
	m.state.WithLabelValues(account, to).Set(1)
}

func (m *metrics) outage(begins bool) {
	if begins {
		m.away.Set(1)
		m.outages.Inc()
		return
	}
	m.away.Set(0)
}

func (m *metrics) forget(account string) {
	m.state.DeletePartialMatch(prometheus.Labels{"account": account})
	m.reconnects.DeletePartialMatch(prometheus.Labels{"account": account})
}
