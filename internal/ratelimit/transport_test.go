package ratelimit

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/internal/oci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRetryAt(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_790_000_000, 0)
	for in, want := range map[string]time.Duration{
		"60":                            time.Minute,
		" 60 ":                          time.Minute,
		"0":                             minRetry,
		"-5":                            minRetry,
		strconv.Itoa(math.MinInt):       minRetry,
		"-9223372037":                   minRetry, // as nanoseconds more than an int64 holds
		"-99999999999999999999":         minRetry,
		"900":                           maxRetry,
		"901":                           maxRetry,
		"999999999":                     maxRetry,
		"99999999999999999999":          maxRetry,
		strconv.Itoa(math.MaxInt):       maxRetry,
		"1790000090":                    90 * time.Second,
		"1789999000":                    minRetry,
		"1799999999":                    maxRetry,
		at(now, 30*time.Second):         30 * time.Second,
		at(now, -time.Hour):             minRetry,
		at(now, 24*time.Hour):           maxRetry,
		"Mon, 01 Jan 0001 00:00:00 GMT": minRetry,
	} {
		if got := retryAt(in, now).Sub(now); got != want {
			t.Errorf("%q: in %v, want %v", in, got, want)
		}
	}
	for _, in := range []string{"", "soon", "1.5", "880µs"} {
		if got := retryAt(in, now); !got.IsZero() {
			t.Errorf("%q: at %v, want none", in, got)
		}
	}
}

func at(now time.Time, d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }

// The wait is within its bounds for any Retry-After, and the same for a number of
// seconds, a date and seconds since 1970.
func FuzzRetryAt(f *testing.F) {
	for _, s := range []string{"", "60", "-1", "1746136938", "Fri, 31 Dec 1999 23:59:59 GMT", "9223372036854775807"} {
		f.Add(s, int64(1_790_000_000), int64(60))
	}
	f.Fuzz(func(t *testing.T, s string, unix, seconds int64) {
		now := time.Unix(unix%(1<<33), 0)
		if at := retryAt(s, now); !at.IsZero() && (at.Sub(now) < minRetry || at.Sub(now) > maxRetry) {
			t.Errorf("%q at %v: at %v", s, now, at)
		}
		seconds %= 2 * int64(maxRetry/time.Second)
		want := min(max(time.Duration(seconds)*time.Second, minRetry), maxRetry)
		for _, same := range []string{strconv.FormatInt(seconds, 10), at(now, time.Duration(seconds)*time.Second), strconv.FormatInt(now.Unix()+seconds, 10)} {
			if n, err := strconv.ParseInt(same, 10, 64); err == nil && n != seconds && n <= epoch {
				continue // too long ago to be distinguished from a number of seconds
			}
			if wait := retryAt(same, now).Sub(now); wait != want {
				t.Errorf("%q at %v: in %v, want %v", same, now, wait, want)
			}
		}
	})
}

// replies is a RoundTripper that always returns the same response.
type replies struct {
	status int
	header http.Header
	body   string
	err    error
	closed bool
}

func (r *replies) RoundTrip(*http.Request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &http.Response{StatusCode: r.status, Header: r.header, Body: r}, nil
}

func (r *replies) Read(p []byte) (int, error) {
	if r.body == "" {
		return 0, io.EOF
	}
	n := copy(p, r.body)
	r.body = r.body[n:]
	return n, nil
}

func (r *replies) Close() error {
	r.closed = true
	return nil
}

func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestBothKindsOf429(t *testing.T) {
	t.Parallel()
	const unauthenticated = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
	for name, test := range map[string]struct {
		reply replies
		want  oci.LimitError
		wait  time.Duration
	}{
		"pulls": {
			replies{body: `{"errors":[{"code":"TOOMANYREQUESTS","message":"` + unauthenticated + `"}]}`},
			oci.LimitError{Kind: oci.LimitPulls, Message: unauthenticated}, minRetry,
		},
		"abuse": {
			replies{header: header("Retry-After", "60", "Connection", "close", "Content-Type", "text/plain; charset=utf-8"), body: "Too Many Requests (HAP429).\n"},
			oci.LimitError{Kind: oci.LimitRequests, Message: "Too Many Requests (HAP429)."}, time.Minute,
		},
		"no errors in it": {replies{body: `{"errors":[]}`}, oci.LimitError{Kind: oci.LimitRequests, Message: "Too Many Requests"}, minRetry},
		"no body":         {replies{header: header("Retry-After", "5")}, oci.LimitError{Kind: oci.LimitRequests, Message: "Too Many Requests"}, 5 * time.Second},
		"a HEAD's": {
			replies{header: header("Content-Type", "text/plain")},
			oci.LimitError{Kind: oci.LimitRequests, Message: "Too Many Requests"}, minRetry,
		},
		"a long text": {
			replies{header: header("Content-Type", "text/plain"), body: strings.Repeat("x", 9000)},
			oci.LimitError{Kind: oci.LimitRequests, Message: strings.Repeat("x", maxErrorBody)}, minRetry,
		},
		"a signed link": {
			replies{header: header("Content-Type", "text/plain"), body: "slow down: /data?X-Amz-Signature=secret"},
			oci.LimitError{Kind: oci.LimitRequests, Message: "Too Many Requests"}, minRetry,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.reply.status = http.StatusTooManyRequests
			_, err := New("docker.io", "login", &test.reply).RoundTrip(pull)
			var got *oci.LimitError
			if !errors.As(err, &got) {
				t.Fatalf("%v is not a LimitError", err)
			}
			wait := time.Until(got.RetryAt)
			if wait > test.wait || wait < test.wait-10*time.Second {
				t.Errorf("again in %v, want %v", wait, test.wait)
			}
			test.want.Upstream, test.want.RetryAt = "docker.io", got.RetryAt
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
			if !test.reply.closed {
				t.Error("the body is left open")
			}
		})
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	next := &replies{status: 200}
	transport := New("docker.io", "login", next)
	type figures struct {
		limit, remaining int
		window           time.Duration
	}
	say := func(pairs ...string) figures {
		next.header = header(pairs...)
		resp, err := transport.RoundTrip(new(http.Request))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 || next.closed {
			t.Fatal("the answer does not come through")
		}
		b := transport.Budget()
		return figures{b.Limit, b.Remaining, b.Window}
	}
	if f := say(); f != (figures{}) || !transport.Budget().Observed.IsZero() {
		t.Errorf("without headers: %+v", f)
	}
	want := figures{100, -2, 6 * time.Hour}
	if f := say("ratelimit-limit", "100;w=21600", "RateLimit-Remaining", "-2;w=21600"); f != want || time.Since(transport.Budget().Observed) > time.Minute {
		t.Errorf("%+v, want %+v", f, want)
	}
	for _, pairs := range [][]string{
		{},
		{"RateLimit-Limit", "100;w=21600"},
		{"RateLimit-Remaining", "0;w=21600"},
		{"RateLimit-Limit", "garbage", "RateLimit-Remaining", "0"},
	} {
		if f := say(pairs...); f != want {
			t.Errorf("after %v: %+v, want still %+v", pairs, f, want)
		}
	}
	next.status, next.header = http.StatusTooManyRequests, header("RateLimit-Limit", "100;w=21600", "RateLimit-Remaining", "0;w=21600")
	if _, err := transport.RoundTrip(new(http.Request)); err == nil || transport.Budget().Remaining != 0 {
		t.Errorf("a 429 tells the budget too: %+v, %v", transport.Budget(), err)
	}
}

func TestTransportError(t *testing.T) {
	t.Parallel()
	want := errors.New("no line")
	if _, err := New("docker.io", "login", &replies{err: want}).RoundTrip(new(http.Request)); err != want {
		t.Errorf("%v, want %v", err, want)
	}
}
