package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mirrord/internal/warm"
)

// WarmHooks returns hooks that log what becomes of scheduled lists.
func WarmHooks(log *zap.Logger) warm.Hooks {
	return warm.Hooks{
		Ended: func(list string, c warm.Completed) {
			fields := []zap.Field{zap.String("list", list), zap.String("result", c.Summary.Text(c.Ended)), zap.Int64("bytes", c.Summary.Bytes), zap.Duration("took", c.Ended.Sub(c.Began))}
			for _, s := range c.Skipped {
				log.Warn("warm list: an entry names no image and is left out", zap.String("list", list), zap.String("where", s.Where), zap.String("why", s.Why))
			}
			for _, f := range c.Failures {
				log.Warn("warm list: an image failed", zap.String("list", list), zap.String("image", f.Image), zap.String("error", f.Error))
			}
			switch {
			case c.Error != "":
				log.Warn("warm list failed; the next run tries again", zap.String("list", list), zap.String("error", c.Error))
			case c.Outcome == warm.RunFailed:
				log.Warn("warm list: some images failed", fields...)
			case c.Outcome == warm.RunWaiting:
				log.Warn("warm list: some images wait", fields...)
			default:
				log.Info("warm list done", fields...)
			}
		},
		Skipped: func(list string, next time.Time) {
			log.Warn("warm list is due and left out, because its last run is not over; give it fewer images or more time", zap.String("list", list), zap.Time("next", next))
		},
	}
}

var (
	warmRuns    = prometheus.NewDesc("mirrord_warm_runs_total", "Runs of a list of warm.lists that are over, by outcome; waiting is for a pull limit or max_pulls, skipped for a run before that was not over.", []string{"list", "outcome"}, nil)
	warmImages  = prometheus.NewDesc("mirrord_warm_images", "Images in the last run of a list since the start, by outcome.", []string{"list", "outcome"}, nil)
	warmFailing = prometheus.NewDesc("mirrord_warm_list_failing", "1 if the last run of a list failed: the list cannot be read, or some images failed.", []string{"list"}, nil)
	warmSuccess = prometheus.NewDesc("mirrord_warm_last_success_timestamp_seconds", "When a run of a list ended last with all its images cached; absent until the first since the start.", []string{"list"}, nil)
	warmNext    = prometheus.NewDesc("mirrord_warm_next_run_timestamp_seconds", "When a list is warmed next.", []string{"list"}, nil)
)

// WatchWarm exports the state of scheduled lists. lists is called at each scrape.
func (m *Metrics) WatchWarm(lists func() []warm.ListStatus) {
	m.registry.MustRegister(warmCollector(lists))
}

type warmCollector func() []warm.ListStatus

// Describe implements prometheus.Collector.
func (c warmCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{warmRuns, warmImages, warmFailing, warmSuccess, warmNext} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c warmCollector) Collect(out chan<- prometheus.Metric) {
	for _, l := range c() {
		for _, outcome := range warm.RunOutcomes {
			out <- prometheus.MustNewConstMetric(warmRuns, prometheus.CounterValue, float64(l.Runs[outcome]), l.Name, string(outcome))
		}
		var images warm.Summary
		var failing float64
		if l.Last != nil {
			images = l.Last.Summary
			if l.Last.Outcome == warm.RunFailed {
				failing = 1
			}
		}
		for outcome, n := range images.Counts() {
			out <- prometheus.MustNewConstMetric(warmImages, prometheus.GaugeValue, float64(n), l.Name, string(outcome))
		}
		out <- prometheus.MustNewConstMetric(warmFailing, prometheus.GaugeValue, failing, l.Name)
		collectTime(out, warmSuccess, l.LastSuccess, l.Name)
		collectTime(out, warmNext, l.Next, l.Name)
	}
}

// collectTime exports a time, unless it is zero.
func collectTime(out chan<- prometheus.Metric, desc *prometheus.Desc, at time.Time, list string) {
	if !at.IsZero() {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(at.Unix()), list)
	}
}
