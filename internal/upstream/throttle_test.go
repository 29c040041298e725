package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// endless responds with a body of that many bytes.
type endless int64

func (n endless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(make([]byte, n)))}, nil
}

// Four downloads share a megabyte a second, and there is no limit after that.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		begun := time.Now()
		throttle := NewBandwidth(func(now time.Time) int64 {
			if now.Sub(begun) < time.Minute {
				return 1 << 20
			}
			return 0
		}).Limit(endless(size))
		download := func(op Operation) (took time.Duration) {
			from := time.Now()
			resp, err := throttle.RoundTrip((&http.Request{}).WithContext(withOperation(t.Context(), op)))
			check(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
			return time.Since(from)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if took := download(BlobGet); took < 3500*time.Millisecond || took > 4100*time.Millisecond {
					t.Errorf("a quarter of the line: %v", took)
				}
			})
		}
		if took := download(ManifestGet); took != 0 {
			t.Errorf("a manifest waits for blobs: %v", took)
		}
		all.Wait()
		<-time.After(2 * time.Minute)
		if took := download(BlobGet); took != 0 {
			t.Errorf("without a limit: %v", took)
		}
	})
}

// A download that is canceled does not wait for its share.
func TestThrottleCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := NewBandwidth(func(time.Time) int64 { return 1 }).Limit(endless(1 << 20))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := throttle.RoundTrip((&http.Request{}).WithContext(withOperation(ctx, BlobGet)))
		check(t, err)
		if _, err = io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("read to the end")
		}
	})
}
