package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"mirrord/internal/cache"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// statMetric is a metric that is read from the cache's statistics at each scrape.
type statMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(Snapshot) float64
}

func gauge(name, help string, read func(Snapshot) float64) statMetric {
	return statMetric{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

func counter(name, help string, read func(Snapshot) float64) statMetric {
	return statMetric{prometheus.NewDesc("mirrord_"+name, help, nil, nil), prometheus.CounterValue, read}
}

var statMetrics = []statMetric{
	gauge("cache_bytes", "Bytes of cached blobs.", func(s Snapshot) float64 { return float64(s.Cache.Bytes) }),
	gauge("cache_pinned_bytes", "Bytes of cached blobs that are pinned and never evicted.", func(s Snapshot) float64 { return float64(s.Cache.Pinned) }),
	gauge("cache_pins", "Images that are pinned.", func(s Snapshot) float64 { return float64(s.Pins) }),
	gauge("cache_reserved_bytes", "Bytes reserved for fills in flight.", func(s Snapshot) float64 { return float64(s.Cache.Reserved) }),
	gauge("cache_max_bytes", "Size limit of the cache in bytes.", func(s Snapshot) float64 { return float64(s.Cache.MaxBytes) }),
	gauge("cache_min_free_bytes", "Bytes of the file system that the cache leaves free.", func(s Snapshot) float64 { return float64(s.Cache.MinFree) }),
	gauge("cache_entries", "Cached blobs and manifests.", func(s Snapshot) float64 { return float64(s.Cache.Entries) }),
	gauge("cache_tags", "Tags whose digest is known, cached or not.", func(s Snapshot) float64 { return float64(s.Tags.Tags) }),
	gauge("cache_oldest_age_seconds", "Time since the least recently used blob was last used.", func(s Snapshot) float64 { return s.Cache.Oldest.Seconds() }),
	gauge("fills_in_flight", "Downloads into the cache in flight, or waiting for their turn.", func(s Snapshot) float64 { return float64(s.Cache.Fills) }),
	counter("fill_joins_total", "Requests that joined a download already in flight.", func(s Snapshot) float64 { return float64(s.Cache.Joined) }),
	counter("fill_resumes_total", "Downloads that resumed from the partial file of an earlier one.", func(s Snapshot) float64 { return float64(s.Cache.Resumed) }),
	counter("fill_failures_total", "Downloads into the cache that failed, except for content that the upstream reports as not found.", func(s Snapshot) float64 { return float64(s.Cache.Failed) }),
	counter("cache_scrubbed_blobs_total", "Blobs that the scrub has read and found intact.", func(s Snapshot) float64 { return float64(s.Cache.Scrubbed) }),
	counter("cache_scrubbed_bytes_total", "Bytes of the blobs that the scrub has read and found intact.", func(s Snapshot) float64 { return float64(s.Cache.ScrubbedBytes) }),
	counter("cache_evictions_total", "Blobs evicted to make space.", func(s Snapshot) float64 { return float64(s.Cache.Evictions) }),
	counter("cache_evicted_bytes_total", "Bytes of the blobs evicted to make space.", func(s Snapshot) float64 { return float64(s.Cache.EvictedBytes) }),
}

// Snapshot is the state of the cache, of the tags above it, and of what both
// depend on, at one moment.
type Snapshot struct {
	Cache    cache.Stats
	Tags     tags.Stats
	Pins     int // images that are pinned
	Degraded map[health.Component]error
}

// WatchCache exports the snapshot that read returns at each scrape.
func (m *Metrics) WatchCache(read func() Snapshot) {
	m.registry.MustRegister(cacheCollector(read))
}

type cacheCollector func() Snapshot

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
	for _, component := range []health.Component{health.Disk, health.Index} {
		var failing float64
		if stats.Degraded[component] != nil {
			failing = 1
		}
		out <- prometheus.MustNewConstMetric(cacheDegraded, prometheus.GaugeValue, failing, string(component))
	}
	collect(out, staleAnswers, stats.Tags.Stale)
	collect(out, tagChecks, stats.Tags.Checks)
	for upstream, n := range stats.Cache.Saved {
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
		oci.StaleUnavailable, oci.StaleSlow, oci.StaleRefreshing, oci.StaleOffline,
		oci.StaleReason(oci.LimitPulls), oci.StaleReason(oci.LimitRequests), oci.StaleReason(oci.LimitReserve), oci.StaleReason(oci.LimitClient))
	tagChecks = newLabeledCounter("tag_checks_total", "Checks of tags with the upstream, by outcome.", "outcome",
		tags.FirstSeen, tags.Same, tags.Moved, tags.Missing, tags.Limited, tags.Failed)
	cacheDegraded = prometheus.NewDesc("mirrord_cache_degraded", "1 while the cache works without its disk or its index, because it is failing or full.", []string{"part"}, nil)
	pullsSaved    = prometheus.NewDesc("mirrord_pulls_saved_total", "Manifests served to clients without a manifest GET to the upstream.", []string{"upstream"}, nil)
)
