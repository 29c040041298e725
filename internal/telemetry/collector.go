package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// statMetric is a metric that is read from the cache's statistics at each scrape.
type statMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(cache.Stats) float64
}

func gauge(name, help string, read func(cache.Stats) float64) statMetric {
	return statMetric{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

func counter(name, help string, read func(cache.Stats) float64) statMetric {
	return statMetric{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.CounterValue, read}
}

var statMetrics = []statMetric{
	gauge("cache_bytes", "Bytes of cached blobs.", func(s cache.Stats) float64 { return float64(s.Bytes) }),
	gauge("cache_reserved_bytes", "Bytes reserved for fills in flight.", func(s cache.Stats) float64 { return float64(s.Reserved) }),
	gauge("cache_max_bytes", "Size limit of the cache in bytes.", func(s cache.Stats) float64 { return float64(s.MaxBytes) }),
	gauge("cache_entries", "Cached blobs and manifests.", func(s cache.Stats) float64 { return float64(s.Entries) }),
	gauge("cache_tags", "Tags whose digest is cached.", func(s cache.Stats) float64 { return float64(s.Tags) }),
	gauge("cache_oldest_age_seconds", "Time since the least recently used blob was last used.", func(s cache.Stats) float64 { return s.Oldest.Seconds() }),
	gauge("fills_in_flight", "Downloads into the cache in flight.", func(s cache.Stats) float64 { return float64(s.Fills) }),
	counter("fill_joins_total", "Requests that joined a download already in flight.", func(s cache.Stats) float64 { return float64(s.Joined) }),
	counter("fill_resumes_total", "Downloads that resumed from the partial file of an earlier one.", func(s cache.Stats) float64 { return float64(s.Resumed) }),
	counter("fill_failures_total", "Downloads into the cache that failed.", func(s cache.Stats) float64 { return float64(s.Failed) }),
	counter("cache_scrubbed_blobs_total", "Blobs that the scrub has read and found intact.", func(s cache.Stats) float64 { return float64(s.Scrubbed) }),
	counter("cache_scrubbed_bytes_total", "Bytes of the blobs that the scrub has read and found intact.", func(s cache.Stats) float64 { return float64(s.ScrubbedBytes) }),
	counter("cache_evictions_total", "Blobs evicted to make space.", func(s cache.Stats) float64 { return float64(s.Evictions) }),
	counter("cache_evicted_bytes_total", "Bytes of the blobs evicted to make space.", func(s cache.Stats) float64 { return float64(s.EvictedBytes) }),
}

// WatchCache exports the statistics of the cache. stats is called at each scrape,
// possibly concurrently.
func (m *Metrics) WatchCache(stats func() cache.Stats) {
	m.registry.MustRegister(cacheCollector(stats))
}

type cacheCollector func() cache.Stats

func (c cacheCollector) Describe(out chan<- *prometheus.Desc) {
	for _, l := range statMetrics {
		out <- l.desc
	}
	for _, g := range []labeledCounter{staleAnswers, tagChecks} {
		out <- g.desc
	}
	out <- pullsSaved
	out <- cacheDegraded
}

func (c cacheCollector) Collect(out chan<- prometheus.Metric) {
	stats := c()
	for _, l := range statMetrics {
		out <- prometheus.MustNewConstMetric(l.desc, l.kind, l.read(stats))
	}
	for _, t := range []cache.Trouble{cache.DiskTrouble, cache.IndexTrouble} {
		var failing float64
		if stats.Troubles[t] != nil {
			failing = 1
		}
		out <- prometheus.MustNewConstMetric(cacheDegraded, prometheus.GaugeValue, failing, string(t))
	}
	collect(out, staleAnswers, stats.Stale)
	collect(out, tagChecks, stats.Checks)
	for upstream, n := range stats.Saved {
		out <- prometheus.MustNewConstMetric(pullsSaved, prometheus.CounterValue, float64(n), upstream)
	}
}

// labeledCounter is a counter with one label. All values of the label are exported
// from the start, because a rate needs the zero before the first event.
type labeledCounter struct {
	desc   *prometheus.Desc
	values []string
}

func newLabeledCounter[V ~string](name, help, label string, values ...V) labeledCounter {
	g := labeledCounter{desc: prometheus.NewDesc("mirrord_"+name, help, []string{label}, nil)}
	for _, v := range values {
		g.values = append(g.values, string(v))
	}
	return g
}

func collect[V ~string](out chan<- prometheus.Metric, g labeledCounter, counts map[V]int64) {
	for _, v := range g.values {
		out <- prometheus.MustNewConstMetric(g.desc, prometheus.CounterValue, float64(counts[V(v)]), v)
	}
}

var (
	staleAnswers = newLabeledCounter("stale_answers_total", "Stale copies of tags and lists served, by reason.", "reason",
		oci.StaleUnavailable, oci.StaleSlow, oci.StaleRefreshing,
		oci.StaleReason(oci.LimitPulls), oci.StaleReason(oci.LimitRequests), oci.StaleReason(oci.LimitReserve), oci.StaleReason(oci.LimitClient))
	tagChecks = newLabeledCounter("tag_checks_total", "Checks of tags with the upstream, by outcome.", "outcome",
		cache.CheckNew, cache.CheckSame, cache.CheckMoved, cache.CheckMissing, cache.CheckLimited, cache.CheckFailed)
	cacheDegraded = prometheus.NewDesc("mirrord_cache_degraded", "1 while the cache works without its disk or its index, because it is failing or full.", []string{"part"}, nil)
	pullsSaved    = prometheus.NewDesc("mirrord_pulls_saved_total", "Manifests served to clients without a manifest GET to the upstream.", []string{"upstream"}, nil)
)
