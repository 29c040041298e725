package telemetry

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mirrord/internal/cache"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

// flushEvery is how long a line may be buffered: one system call per line would
// show in the cost of a warm request.
const flushEvery = 200 * time.Millisecond

// NewLogger returns a logger that writes lines to w within flushEvery, from level on,
// which may change. format is log.format of the configuration: "json", or "console" for
// people. Durations are in seconds in both. The caller calls stop before it exits, which
// writes the buffered lines.
func NewLogger(w io.Writer, level zapcore.LevelEnabler, format string) (log *zap.Logger, stop func() error) {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey, c.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder(c)
	if format == "console" {
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(c)
	}
	out := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(w), FlushInterval: flushEvery}
	return zap.New(zapcore.NewCore(encoder, out, level)), out.Stop
}

// degradedMessages says what the failure of a component means.
var degradedMessages = map[health.Component]string{
	health.Disk:   "disk is failing or full: content that it cannot store or read bypasses the cache until it recovers",
	health.Fleet:  "blobs and manifests are shared with the fleet, and nothing else: no leases, siblings, tags and budgets",
	health.Bucket: "the fleet's bucket fails; this mirror goes on without it, and tries it again within a minute",
	health.Index:  "index is failing: everything is still served, but a restart loses what it cannot record",
}

// CacheHooks returns hooks that log and count events that belong to no request.
func CacheHooks(log *zap.Logger, m *Metrics) cache.Hooks {
	return cache.Hooks{
		FillFailed: func(ref oci.Ref, err error) {
			log.Warn("fill failed", zap.Stringer("ref", ref), zap.Error(err))
		},
		Resumed: func(ref oci.Ref, offset int64) {
			log.Info("fill resumed from a partial download", zap.Stringer("ref", ref), zap.Int64("offset", offset))
		},
		Evicted: func(d oci.Digest, size int64) {
			log.Debug("blob evicted", zap.Stringer("digest", d), zap.Int64("bytes", size))
		},
		Damaged: func(d oci.Digest, err error) {
			m.damaged.Inc()
			log.Warn("damaged blob dropped; it will be fetched again", zap.Stringer("digest", d), zap.Error(err))
		},
		RemoveFailed: func(d oci.Digest, err error) {
			log.Warn("cannot remove the file of a dropped blob; the next start will adopt it", zap.Stringer("digest", d), zap.Error(err))
		},
		IndexFailed: indexFailed(log, m),
		Reconciled: func(r cache.Reconciliation, err error) {
			log.Info("cache directory reconciled with the index", zap.Int("adopted", r.Adopted), zap.Int("lost", r.Lost), zap.Int("strays", r.Strays), zap.Error(err))
		},
	}
}

// TagHooks returns hooks that log and count what no request reports of tags.
func TagHooks(log *zap.Logger, m *Metrics) tags.Hooks {
	return tags.Hooks{
		Stale: func(ref oci.Ref, err error) {
			log.Warn("tag check failed; serving the stale copy", zap.Stringer("ref", ref), zap.Error(err))
		},
		IndexFailed: indexFailed(log, m),
	}
}

// HealthHooks returns hooks that log what the mirror has to do without.
func HealthHooks(log *zap.Logger) health.Hooks {
	return health.Hooks{
		Degraded: func(c health.Component, err error) {
			level := zapcore.ErrorLevel
			if c == health.Bucket { // each mirror does its work without it
				level = zapcore.WarnLevel
			}
			log.Log(level, degradedMessages[c], zap.String("part", string(c)), zap.Error(err))
		},
		Recovered: func(c health.Component) {
			log.Info("recovered", zap.String("part", string(c)))
		},
	}
}

func indexFailed(log *zap.Logger, m *Metrics) func(error) {
	return func(err error) {
		m.indexErrors.Inc()
		log.Debug("index read or write failed", zap.Error(err))
	}
}
