package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/cache"
	"mirrord/internal/ratelimit"
)

// level is a figure that is read at each scrape.
type level struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(cache.Stats) float64
}

func gauge(name, help string, read func(cache.Stats) float64) level {
	return level{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

func counter(name, help string, read func(cache.Stats) float64) level {
	return level{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.CounterValue, read}
}

var levels = []level{
	gauge("cache_bytes", "Bytes of the blobs that are kept.", func(s cache.Stats) float64 { return float64(s.Bytes) }),
	gauge("cache_reserved_bytes", "Bytes promised to fills under way.", func(s cache.Stats) float64 { return float64(s.Reserved) }),
	gauge("cache_max_bytes", "The cache's budget.", func(s cache.Stats) float64 { return float64(s.MaxBytes) }),
	gauge("cache_entries", "Blobs and manifests that are kept.", func(s cache.Stats) float64 { return float64(s.Entries) }),
	gauge("cache_tags", "Tags whose digest is known.", func(s cache.Stats) float64 { return float64(s.Tags) }),
	gauge("cache_oldest_age_seconds", "Time since the least recently used blob was used.", func(s cache.Stats) float64 { return s.Oldest.Seconds() }),
	gauge("fills_in_flight", "Downloads into the cache under way.", func(s cache.Stats) float64 { return float64(s.Fills) }),
	counter("fill_joins_total", "Requests that joined a download under way.", func(s cache.Stats) float64 { return float64(s.Joined) }),
	counter("fill_resumes_total", "Downloads that went on with what an earlier, unfinished one had left on disk.", func(s cache.Stats) float64 { return float64(s.Resumed) }),
	counter("fill_failures_total", "Downloads into the cache that failed.", func(s cache.Stats) float64 { return float64(s.Failed) }),
	counter("stale_answers_total", "Answers with an older copy of a tag because the upstream could not be asked.", func(s cache.Stats) float64 { return float64(s.Stale) }),
	counter("cache_evictions_total", "Blobs dropped to make room.", func(s cache.Stats) float64 { return float64(s.Evictions) }),
	counter("cache_evicted_bytes_total", "Bytes of the blobs dropped to make room.", func(s cache.Stats) float64 { return float64(s.EvictedBytes) }),
}

// WatchCache exports the cache's figures.
func (m *Metrics) WatchCache(stats func() cache.Stats) {
	m.registry.MustRegister(cacheCollector(stats))
}

type cacheCollector func() cache.Stats

func (c cacheCollector) Describe(out chan<- *prometheus.Desc) {
	for _, l := range levels {
		out <- l.desc
	}
}

func (c cacheCollector) Collect(out chan<- prometheus.Metric) {
	stats := c()
	for _, l := range levels {
		out <- prometheus.MustNewConstMetric(l.desc, l.kind, l.read(stats))
	}
}

// WatchBudget exports what an upstream says of its limit, from when it has said
// so until its window is over: no figure means no limit known.
func (m *Metrics) WatchBudget(upstream string, budget func() ratelimit.Budget) {
	m.registry.MustRegister(&budgetCollector{upstream, budget})
}

type budgetCollector struct {
	upstream string
	budget   func() ratelimit.Budget
}

var (
	quotaLimit     = prometheus.NewDesc("mirrord_upstream_quota_limit", "Manifest GETs that the upstream allows in a window; absent when it tells no limit.", []string{"upstream"}, nil)
	quotaRemaining = prometheus.NewDesc("mirrord_upstream_quota_remaining", "Manifest GETs left in the upstream's window; absent when it tells no limit.", []string{"upstream"}, nil)
)

func (c *budgetCollector) Describe(chan<- *prometheus.Desc) {} // the figures come and go

func (c *budgetCollector) Collect(out chan<- prometheus.Metric) {
	b := c.budget()
	if b.Observed.IsZero() || b.Window > 0 && time.Since(b.Observed) > b.Window {
		return
	}
	out <- prometheus.MustNewConstMetric(quotaLimit, prometheus.GaugeValue, float64(b.Limit), c.upstream)
	out <- prometheus.MustNewConstMetric(quotaRemaining, prometheus.GaugeValue, float64(b.Remaining), c.upstream)
}
