package telemetry

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/oci"
)

// Bucket returns next, with its requests counted and timed.
func (m *Metrics) Bucket(next bucket.Bucket) bucket.Bucket {
	b := &countedBucket{
		next: next,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mirrord_fleet_bucket_requests_total", Help: "Requests to the object store that the fleet shares; result is ok, absent, precondition, conflict, slow, denied, full, unsupported or error.",
		}, []string{"operation", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mirrord_fleet_bucket_request_duration_seconds", Help: "Time from a request to the object store to its response; for a put, until all is written.", Buckets: prometheus.DefBuckets,
		}, []string{"operation"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mirrord_fleet_bucket_bytes_total", Help: "Bytes of content that were read from and written to the object store.",
		}, []string{"direction"}),
	}
	for _, operation := range []string{"get", "put"} {
		b.requests.WithLabelValues(operation, "ok")
		b.requests.WithLabelValues(operation, "error")
	}
	b.read, b.written = b.bytes.WithLabelValues("read"), b.bytes.WithLabelValues("written")
	m.registry.MustRegister(b.requests, b.duration, b.bytes)
	m.bucket = b
	return b
}

// WatchUploads exports how much is to be uploaded.
func (m *Metrics) WatchUploads(waiting func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mirrord_fleet_uploads_waiting", Help: "Blobs and manifests that wait to be uploaded to the object store, or are being uploaded.",
	}, func() float64 { return float64(waiting()) }))
}

// countedBucket is a Bucket that counts. A label has few values, and no key.
type countedBucket struct {
	next          bucket.Bucket
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	bytes         *prometheus.CounterVec
	read, written prometheus.Counter
}

var bucketResults = []struct {
	err  error
	name string
}{
	{bucket.ErrAbsent, "absent"},
	{bucket.ErrPrecondition, "precondition"},
	{bucket.ErrConflict, "conflict"},
	{bucket.ErrSlow, "slow"},
	{bucket.ErrDenied, "denied"},
	{bucket.ErrFull, "full"},
	{bucket.ErrUnsupported, "unsupported"},
}

// observe counts a request that began at a time.
func (b *countedBucket) observe(operation string, begun time.Time, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	for _, r := range bucketResults {
		if errors.Is(err, r.err) {
			result = r.name
		}
	}
	b.requests.WithLabelValues(operation, result).Inc()
	b.duration.WithLabelValues(operation).Observe(time.Since(begun).Seconds())
}

func (b *countedBucket) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	begun := time.Now()
	o, err := b.next.Get(ctx, key, from, etag)
	b.observe("get", begun, err)
	if err == nil {
		o.Body = &countedBody{o.Body, b.read}
	}
	return o, err
}

type countedBody struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(float64(n))
	return n, err
}

func (b *countedBucket) Put(ctx context.Context, key string, data []byte, c bucket.Cond) (string, error) {
	begun := time.Now()
	etag, err := b.next.Put(ctx, key, data, c)
	b.observe("put", begun, err)
	if err == nil {
		b.written.Add(float64(len(data)))
	}
	return etag, err
}

func (b *countedBucket) Upload(ctx context.Context, key string, from io.ReaderAt, size int64, c bucket.Cond) error {
	begun := time.Now()
	err := b.next.Upload(ctx, key, from, size, c)
	b.observe("put", begun, err)
	if err == nil {
		b.written.Add(float64(size))
	}
	return err
}

func (b *countedBucket) Touch(ctx context.Context, key, etag string) error {
	begun := time.Now()
	err := b.next.Touch(ctx, key, etag)
	b.observe("touch", begun, err)
	return err
}

func (b *countedBucket) Delete(ctx context.Context, key string) error {
	begun := time.Now()
	err := b.next.Delete(ctx, key)
	b.observe("delete", begun, err)
	return err
}

func (b *countedBucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return b.next.List(ctx, prefix)
}

func (b *countedBucket) Sweep(ctx context.Context, age time.Duration) error {
	begun := time.Now()
	err := b.next.Sweep(ctx, age)
	b.observe("sweep", begun, err)
	return err
}

func (b *countedBucket) Now() (time.Time, bool) { return b.next.Now() }

// FleetHooks returns hooks that log what no request reports of the fleet, and count what
// wrong bytes and what this mirror did for the others.
func FleetHooks(log *zap.Logger, m *Metrics) fleet.Hooks {
	corrupt := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mirrord_fleet_bucket_corrupt_total", Help: "Objects that were read from the object store, or from another mirror, and did not match their digest.",
	})
	roles := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mirrord_fleet_fetches_total", Help: "Content that the bucket did not have, by what this mirror did: holder fetched it for all mirrors, waiter read it from the holder, takeover went on for one that could not, alone fetched it for itself.",
	}, []string{"role"})
	for _, role := range fleet.Roles {
		roles.WithLabelValues(string(role))
	}
	m.registry.MustRegister(corrupt, roles)
	return fleet.Hooks{
		Role: func(role fleet.Role) { roles.WithLabelValues(string(role)).Inc() },
		Corrupt: func(ref oci.Ref) {
			corrupt.Inc()
			log.Warn("the fleet's bucket, or another mirror, has wrong bytes; they are fetched from the upstream and replaced", zap.Stringer("ref", ref))
		},
		Uploaded: func(ref oci.Ref, size int64) {
			log.Debug("uploaded to the fleet's bucket", zap.Stringer("ref", ref), zap.Int64("bytes", size))
		},
		Refused: func(ref oci.Ref, err error) {
			log.Warn("not uploaded to the fleet's bucket", zap.Stringer("ref", ref), zap.Error(err))
		},
	}
}
