package telemetry

import (
	"math"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/guard"
)

// ProbeHooks returns hooks that log what is found of the fleet's store. What makes the
// mirror degraded is logged by HealthHooks.
func ProbeHooks(log *zap.Logger) fleetprobe.Hooks {
	return fleetprobe.Hooks{
		Failed: func(err error) {
			log.Warn("what the fleet's bucket can do is not known yet; it is tried again, and until then only blobs and manifests are shared", zap.Error(err))
		},
		NoConditions: func(err error) {
			log.Warn("the fleet's object store does not support conditional writes: this mirror shares blobs and manifests, and uses no leases", zap.Error(err))
		},
		Probed: func(c fleetprobe.Capabilities) {
			log.Info("the fleet's object store was probed", zap.Bool("conditions", c.Conditions), zap.Bool("ages", c.Ages), zap.Bool("touch", c.Touch), zap.Bool("secret_ok", c.SecretOK))
		},
	}
}

// LeaseHooks returns hooks of the bucket of leases, which log when that is left alone, and
// when all of it works again.
func LeaseHooks(log *zap.Logger) guard.Hooks {
	var mu sync.Mutex // guards failing
	failing := 0      // parts of the bucket: reads, writes
	return guard.Hooks{
		Failing: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if failing++; failing == 1 {
				log.Warn("leases in the fleet's bucket cannot be read or written: what several mirrors miss at the same time each fetches by itself; they are tried again within a minute", zap.Error(err))
			}
		},
		Recovered: func() {
			mu.Lock()
			defer mu.Unlock()
			if failing--; failing == 0 {
				log.Info("leases in the fleet's bucket can be read and written again")
			}
		},
	}
}

var fleetCapability = prometheus.NewDesc("mirrord_fleet_capability", "1 if the fleet's object store can do this, or for secret if this mirror has the fleet's; 0 if not, or not known yet.", []string{"capability"}, nil)

var fleetWrongSecret = prometheus.NewDesc("mirrord_fleet_wrong_secret", "1 while the fleet.secret_file of this mirror is not that of its fleet.", nil, nil)

// WatchProbe exports what the fleet's store can do, and whether the secret is wrong.
func (m *Metrics) WatchProbe(now func() fleetprobe.State) {
	m.registry.MustRegister(probeCollector(now))
}

type probeCollector func() fleetprobe.State

// Describe implements prometheus.Collector.
func (c probeCollector) Describe(out chan<- *prometheus.Desc) {
	out <- fleetCapability
	out <- fleetWrongSecret
}

// Collect implements prometheus.Collector.
func (c probeCollector) Collect(out chan<- prometheus.Metric) {
	found := c()
	for name, has := range map[string]bool{"conditions": found.Conditions, "ages": found.Ages, "touch": found.Touch, "secret": found.SecretOK} {
		out <- prometheus.MustNewConstMetric(fleetCapability, prometheus.GaugeValue, oneIf(has), name)
	}
	out <- prometheus.MustNewConstMetric(fleetWrongSecret, prometheus.GaugeValue, oneIf(found.Secret != nil))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// BucketFigures are what the metrics say of the fleet's bucket, for the status.
type BucketFigures struct {
	BytesRead, BytesWritten int64
	Reads, Writes           Latency
}

// Latency is how long requests took.
type Latency struct {
	Requests int64
	Most     float64 // seconds that 95 % took at the most; 0: unknown, or more than the last bucket of the histogram
}

// BucketFigures returns the figures; zero without a bucket.
func (m *Metrics) BucketFigures() BucketFigures {
	if m.bucket == nil {
		return BucketFigures{}
	}
	return BucketFigures{
		BytesRead: totalOf(m.bucket.read), BytesWritten: totalOf(m.bucket.written),
		Reads: latency(m.bucket.duration.WithLabelValues("get")), Writes: latency(m.bucket.duration.WithLabelValues("put")),
	}
}

func totalOf(c prometheus.Counter) int64 { return int64(valueOf(c).GetCounter().GetValue()) }

func valueOf(m prometheus.Metric) *dto.Metric {
	value := new(dto.Metric)
	_ = m.Write(value) // of a counter or histogram it does not fail
	return value
}

const most = 0.95 // of the requests

func latency(o prometheus.Observer) Latency {
	h := valueOf(o.(prometheus.Metric)).GetHistogram()
	l := Latency{Requests: int64(h.GetSampleCount())}
	for _, b := range h.GetBucket() {
		if h.GetSampleCount() > 0 && float64(b.GetCumulativeCount()) >= most*float64(h.GetSampleCount()) && !math.IsInf(b.GetUpperBound(), 1) {
			l.Most = b.GetUpperBound()
			break
		}
	}
	return l
}
