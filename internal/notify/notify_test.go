package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/oci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// responses is a transport that responds in turn, the last one for ever.
type responses struct {
	statuses []int
	after    string
	bodies   [][]byte
	at       []time.Time
}

func (r *responses) RoundTrip(request *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(request.Body)
	status := r.statuses[min(len(r.bodies), len(r.statuses)-1)]
	r.bodies, r.at = append(r.bodies, body), append(r.at, time.Now())
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {r.after}}, Body: http.NoBody, Request: request}, nil
}

// run delivers an event to a target that responds with r.
func run(t *testing.T, r *responses, wait time.Duration) (Stats, []string) {
	t.Helper()
	var told []string
	n := New(Options{Client: &http.Client{Transport: r}, Hooks: Hooks{
		Failing: func(_ string, err error, again bool) {
			told = append(told, err.Error())
			if !again {
				told = append(told, "for good")
			}
		},
		Recovered:   func(string) { told = append(told, "recovered") },
		Undelivered: func(string, int) { told = append(told, "undelivered") },
	}})
	n.Set([]Target{{Name: "a", URL: "http://a", On: Types}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	n.Emit(Event{Type: QuotaLow})
	time.Sleep(wait)
	stats := n.Stats()[0]
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return stats, told
}

func TestRetries(t *testing.T) {
	for _, test := range []struct {
		name     string
		statuses []int
		after    string
		outcome  Outcome
		attempts int
		told     string
	}{
		{"at once", []int{204}, "", Delivered, 1, ""},
		{"after failures", []int{503, 429, 408, 200}, "", Delivered, 4, "it responded with 503 Service Unavailable recovered"},
		{"never", []int{500}, "", Failed, maxAttempts, "it responded with 500 Internal Server Error"},
		{"refused", []int{404}, "", Refused, 1, "it responded with 404 Not Found for good"},
		{"redirected", []int{307}, "", Refused, 1, "it responded with 307 Temporary Redirect for good"},
		{"too late", []int{503}, "3600", Failed, 1, "it responded with 503 Service Unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &responses{statuses: test.statuses, after: test.after}
				stats, told := run(t, r, maxAge)
				if stats.Deliveries[test.outcome] != 1 || len(r.bodies) != test.attempts || stats.Waiting != 0 || strings.Join(told, " ") != test.told {
					t.Errorf("%+v after %d attempts, told %q", stats, len(r.bodies), told)
				}
				for _, body := range r.bodies {
					if !bytes.Equal(body, r.bodies[0]) {
						t.Error("attempts differ")
					}
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &responses{statuses: []int{429, 200}, after: "100"}
		if _, _ = run(t, r, time.Hour); len(r.at) != 2 || r.at[1].Sub(r.at[0]) != 100*time.Second {
			t.Errorf("attempts at %v", r.at)
		}
	})
}

// An event that may be sent again in centuries only is given up, and others get their turn.
func TestRetryAfterCenturies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &responses{statuses: []int{503}, after: "Fri, 31 Dec 9999 23:59:59 GMT"}
		n, q := New(Options{Client: &http.Client{Transport: r}}), newQueue("a")
		q.target.Store(&Target{URL: "http://a"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		outcome, _ := n.deliver(ctx, q, message{created: time.Now().Add(-time.Second)})
		if outcome != Failed || ctx.Err() != nil {
			t.Errorf("%s, %v", outcome, ctx.Err())
		}
	})
}

// The end does not wait for a target that fails, and says what is lost.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, told := run(t, &responses{statuses: []int{503}, after: "100"}, time.Second)
		if time.Since(begun) != time.Second+flushTime || told[len(told)-1] != "undelivered" {
			t.Errorf("ended after %v, told %q", time.Since(begun), told)
		}
	})
}

// What waits at the end is delivered, even if that comes before the start.
func TestFlush(t *testing.T) {
	r := &responses{statuses: []int{200}}
	n := New(Options{Client: &http.Client{Transport: r}})
	n.Set([]Target{{Name: "a", URL: "http://a", On: Types}})
	for range 3 {
		n.Emit(Event{Type: QuotaLow})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(ctx); err != nil || len(r.bodies) != 3 {
		t.Errorf("%d delivered, %v", len(r.bodies), err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	n := New(Options{})
	n.Set([]Target{{Name: "a", On: []Type{QuotaLow}}})
	for range maxWaiting + 5 {
		n.Emit(Event{Type: QuotaLow})
		n.Emit(Event{Type: QuotaGone}) // which nobody wants
	}
	if s := n.Stats()[0]; s.Waiting != maxWaiting || s.Dropped != 5 {
		t.Errorf("%+v", s)
	}
	n.Set([]Target{{Name: "a", On: []Type{QuotaGone}}, {Name: "b"}})
	if s := n.Stats(); len(s) != 2 || s[0].Waiting != maxWaiting {
		t.Errorf("a changed target: %+v", s)
	}
}

func TestTags(t *testing.T) {
	moved := Event{Type: TagMoved}
	never := func(oci.Ref) bool { return false }
	for _, test := range []struct {
		target Target
		want   bool
	}{{Target{On: Types}, true}, {Target{On: Types, Tag: never}, false}, {Target{}, false}} {
		if test.target.wants(moved) != test.want {
			t.Errorf("%+v wants %v", test.target.On, !test.want)
		}
	}
}

// A real receiver gets what it needs to verify the signature; a secret that is in a URL is
// in no error.
func TestSigned(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("whsec_"+base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var valid atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		var e cloudEvent
		valid.Store(json.Unmarshal(body, &e) == nil && e.ID == r.Header.Get("webhook-id") && e.SpecVersion == "1.0" && e.Type == "mirrord.degraded" &&
			r.Header.Get("content-type") == "application/cloudevents+json" &&
			r.Header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}))
	client := NewClient(nil)
	defer client.CloseIdleConnections()
	n := New(Options{Source: "/mirrord/test", Client: client})
	m, err := newMessage("/mirrord/test", Event{Type: Degraded, Subject: "disk"})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{URL: receiver.URL + "/s3cret", SecretFile: file}
	if err := n.attempt(t.Context(), target, m); err != nil || !valid.Load() {
		t.Errorf("%v, valid %v", err, valid.Load())
	}
	receiver.Close()
	if err := n.attempt(t.Context(), target, m); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecret(file); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}
