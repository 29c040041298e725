package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/fleet/budget"
)

var (
	fleetGrants      = prometheus.NewDesc("mirrord_fleet_grants_total", "Times that this mirror has taken a part of the pulls that the fleet shares.", []string{"upstream"}, nil)
	fleetBudgetPulls = prometheus.NewDesc("mirrord_fleet_budget_pulls_total", "Manifest GETs that were to be sent from a budget that the fleet shares; result is granted, refused, or alone where the bucket did not say in time and this mirror decided by itself.", []string{"upstream", "result"}, nil)
)

// WatchFleetBudgets exports how pulls are divided among mirrors. stats is called at each
// scrape, and returns them by upstream.
func (m *Metrics) WatchFleetBudgets(stats func() map[string]budget.Stats) {
	m.registry.MustRegister(fleetBudgetCollector(stats))
}

type fleetBudgetCollector func() map[string]budget.Stats

// Describe implements prometheus.Collector.
func (c fleetBudgetCollector) Describe(out chan<- *prometheus.Desc) {
	out <- fleetGrants
	out <- fleetBudgetPulls
}

// Collect implements prometheus.Collector.
func (c fleetBudgetCollector) Collect(out chan<- prometheus.Metric) {
	for upstream, s := range c() {
		out <- prometheus.MustNewConstMetric(fleetGrants, prometheus.CounterValue, float64(s.Grants), upstream)
		for result, n := range s.Pulls {
			out <- prometheus.MustNewConstMetric(fleetBudgetPulls, prometheus.CounterValue, float64(n), upstream, string(result))
		}
	}
}
