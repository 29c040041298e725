package s3

import (
	"cmp"
	"context"
	"io"
	"net/http"

	"golang.org/x/time/rate"
)

// throttleStep is how many bytes of a body are sent at once, so that uploads share a slow
// line evenly.
const throttleStep = 16 << 10

// uploading is the key of what marks the context of an upload: other requests, such as those
// of leases and tags, do not wait for any.
type uploading struct{}

// asUpload returns ctx for requests whose bodies a throttle counts.
func asUpload(ctx context.Context) context.Context {
	return context.WithValue(ctx, uploading{}, true)
}

// throttle is a transport that sends the bodies of uploads no faster than its limit, all of
// them together.
type throttle struct {
	next    http.RoundTripper
	limiter *rate.Limiter
}

// newThrottle returns a throttle of a number of bytes a second.
func newThrottle(next http.RoundTripper, limit int64) *throttle {
	return &throttle{next, rate.NewLimiter(rate.Limit(limit), throttleStep)}
}

// RoundTrip implements http.RoundTripper.
func (t *throttle) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Context().Value(uploading{}) == nil {
		return t.next.RoundTrip(r)
	}
	slow := r.WithContext(r.Context())
	slow.Body = t.body(r.Context(), r.Body)
	if r.GetBody != nil {
		slow.GetBody = func() (io.ReadCloser, error) {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			return t.body(r.Context(), body), nil
		}
	}
	return t.next.RoundTrip(slow)
}

func (t *throttle) body(ctx context.Context, next io.ReadCloser) io.ReadCloser {
	return &throttled{next, ctx, t.limiter}
}

// CloseIdleConnections is what http.Client looks for.
func (t *throttle) CloseIdleConnections() { closeIdle(t.next) }

func closeIdle(next http.RoundTripper) {
	if t, ok := next.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// throttled is a body that is read no faster than its share.
type throttled struct {
	io.ReadCloser
	ctx     context.Context // of the request
	limiter *rate.Limiter
}

func (b *throttled) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), throttleStep)])
	if n == 0 {
		return 0, err
	}
	if waited := b.limiter.WaitN(b.ctx, n); waited != nil && err == nil {
		err = cmp.Or(context.Cause(b.ctx), waited)
	}
	return n, err
}
