package s3

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
)

// sink is a store that reads all that it is sent.
type sink struct{}

func (sink) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, r.Body.Close()
}

// took is how long it takes to send bodies of these sizes through a throttle of 1 MiB/s, at
// once, in a context.
func took(t *testing.T, ctx context.Context, sizes ...int) time.Duration {
	t.Helper()
	begun := time.Now()
	transport := newThrottle(sink{}, 1<<20)
	var requests errgroup.Group
	for _, size := range sizes {
		requests.Go(func() error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://store/a", bytes.NewReader(make([]byte, size)))
			if err != nil {
				return err
			}
			_, err = transport.RoundTrip(r)
			return err
		})
	}
	if err := requests.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Since(begun)
}

// Uploads share their limit, however small they are, and other writes do not wait for them.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		small := slices.Repeat([]int{10 << 10}, 300)
		for _, test := range []struct {
			ctx   context.Context
			sizes []int
			want  time.Duration
		}{
			{asUpload(t.Context()), []int{10 << 20}, 10 * time.Second},
			{asUpload(t.Context()), []int{10 << 20, 20 << 20}, 30 * time.Second},
			{asUpload(t.Context()), small, 3 * time.Second},
			{t.Context(), small, 0},
		} {
			if got := took(t, test.ctx, test.sizes...).Round(time.Second); got != test.want {
				t.Errorf("%d bodies took %s, want %s", len(test.sizes), got, test.want)
			}
		}
	})
}

// An upload that is given up does not wait for its turn.
func TestThrottleGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(asUpload(t.Context()))
		time.AfterFunc(time.Second, cancel)
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://store/a", bytes.NewReader(make([]byte, 1<<30)))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if _, err := newThrottle(sink{}, 1<<20).RoundTrip(r); err == nil {
			t.Error("the upload was sent")
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it ended after %s", took)
		}
	})
}
