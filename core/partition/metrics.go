package partition

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	leases *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, k *Keeper) (*metrics, error) {
	m := &metrics{leases: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wildcat_partition_leases_total",
		Help: "Leases of partitions of deliveries, by what became of them (taken, let_go, lost: another hub had it, ran_out: not renewed in time).",
	}, []string{"result"})}
	for _, result := range []string{"taken", "let_go", "lost", "ran_out"} {
		m.leases.WithLabelValues(result) // 0 is shown, too: so an alarm has something to compare
	}
	owned := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wildcat_partitions_owned", Help: "Partitions of deliveries that this hub holds, of 32.",
	}, func() float64 { return float64(k.count()) })
	for _, c := range []prometheus.Collector{m.leases, owned} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register partition metrics: %w", err)
		}
	}
	return m, nil
}
