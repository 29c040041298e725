package upstream

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// throttleStep is how many bytes of a body are read at once while the bandwidth is
// limited: so few that a slow line is shared evenly, and that no download waits for
// longer than idleTime.
const throttleStep = 16 << 10

// Bandwidth limits how fast blobs are read, all of them together; manifests, tokens and
// lists do not wait behind them. It may be used concurrently.
type Bandwidth struct {
	limit   func(time.Time) int64
	limiter *rate.Limiter
}

// NewBandwidth returns a Bandwidth. limit returns how many bytes a second may be read
// at a time; 0 means no limit.
func NewBandwidth(limit func(time.Time) int64) *Bandwidth {
	return &Bandwidth{limit: limit, limiter: rate.NewLimiter(rate.Inf, throttleStep)}
}

// Limit returns a transport whose blobs have a share of b.
func (b *Bandwidth) Limit(next http.RoundTripper) http.RoundTripper {
	return throttle{b, next}
}

type throttle struct {
	bandwidth *Bandwidth
	next      http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err == nil && OperationOf(req) == BlobGet {
		resp.Body = &throttled{resp.Body, t.bandwidth, req.Context()}
	}
	return resp, err
}

// throttled is a body that is read no faster than its share.
type throttled struct {
	io.ReadCloser
	bandwidth *Bandwidth
	ctx       context.Context // of the request
}

func (b *throttled) Read(p []byte) (int, error) {
	limit := b.bandwidth.limit(time.Now())
	if limit == 0 {
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), throttleStep)])
	if n == 0 {
		return 0, err
	}
	b.bandwidth.limiter.SetLimit(rate.Limit(limit))
	if waited := b.bandwidth.limiter.WaitN(b.ctx, n); waited != nil && err == nil {
		err = cmp.Or(context.Cause(b.ctx), waited)
	}
	return n, err
}
