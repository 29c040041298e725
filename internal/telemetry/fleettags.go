package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/fleet/tag"
)

var fleetTags = prometheus.NewDesc("mirrord_fleet_tags_total", "Tags that were looked for in what the fleet shares, when they were not fresh; result is used, stale, absent, foreign or error.", []string{"result"}, nil)

// WatchFleetTags exports how it ends to look for what another mirror was told of a tag.
// stats is called at each scrape.
func (m *Metrics) WatchFleetTags(stats func() map[tag.Lookup]int64) {
	m.registry.MustRegister(fleetTagsCollector(stats))
}

type fleetTagsCollector func() map[tag.Lookup]int64

// Describe implements prometheus.Collector.
func (c fleetTagsCollector) Describe(out chan<- *prometheus.Desc) { out <- fleetTags }

// Collect implements prometheus.Collector.
func (c fleetTagsCollector) Collect(out chan<- prometheus.Metric) {
	stats := c()
	for _, l := range tag.Lookups {
		out <- prometheus.MustNewConstMetric(fleetTags, prometheus.CounterValue, float64(stats[l]), string(l))
	}
}
