package account

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	state      *prometheus.GaugeVec
	reconnects *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wildcat_account_state", Help: "1 for the state that an account is in.",
		}, []string{"account", "state"}),
		reconnects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_account_reconnects_total", Help: "Connections that ended and are made anew, by reason.",
		}, []string{"account", "reason"}),
	}
	for _, c := range []prometheus.Collector{m.state, m.reconnects} {
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

func (m *metrics) forget(account string) {
	m.state.DeletePartialMatch(prometheus.Labels{"account": account})
	m.reconnects.DeletePartialMatch(prometheus.Labels{"account": account})
}
