package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
	"mirrord/internal/status"
	"mirrord/internal/upstream"
	"mirrord/internal/warm"
	"mirrord/test/cachetest"
)

// watched is an API whose status can be changed.
func watched(t *testing.T) (*API, *status.Recorder) {
	t.Helper()
	f := cachetest.Start(t, new(ocitest.Fake))
	recorder := status.New(status.Options{Pulls: func() (int64, int64) { return 0, 0 }, Clients: func() bool { return true }})
	online := func() bool { return false }
	return New(Options{
		WarmLists: warm.NewScheduler(warm.New(warm.Options{Offline: online}), warm.Hooks{}),
		Cache:     f.Cache, Health: f.Health, Status: recorder, Pools: func() []*upstream.Pool { return nil },
		Offline: online, Free: func() (int64, error) { return 1, nil }, Failing: func() map[string]int { return nil },
		Token: NewToken("", t.TempDir()), Retention: new(retention.Retention),
	}), recorder
}

var pull = status.Request{Upstream: "docker.io", Repository: "library/a", Reference: "1", Manifest: true, Via: oci.Hit}

// watcher is a client of server-sent events that may stop reading.
type watcher struct {
	http.ResponseWriter
	events   atomic.Int32
	deadline time.Time
	err      error
}

func (w *watcher) Write(p []byte) (int, error) {
	if !w.deadline.After(time.Now()) {
		return 0, errors.New("a write without a limit")
	}
	w.events.Add(1)
	return len(p), w.err
}

func (w *watcher) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }
func (w *watcher) FlushError() error                  { return w.err }

// A status is sent at once, when it has changed but no more than once a second, and now
// and then in any case.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, recorder := watched(t)
		client := &watcher{ResponseWriter: httptest.NewRecorder()}
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			a.watch(ctx, &eventWriter{client, http.NewResponseController(client)}, true)
			close(ended)
		}()
		wait := func(d time.Duration, want int32, what string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := client.events.Swap(0); n != want {
				t.Errorf("%s: %d events, want %d", what, n, want)
			}
		}
		wait(time.Millisecond, 1, "at once")
		wait(14*time.Second, 0, "nothing has changed")
		wait(time.Second, 1, "heartbeat")
		for range 20 {
			recorder.Note(pull)
			time.Sleep(100 * time.Millisecond)
		}
		wait(time.Second, 2, "20 changes in two seconds")
		leave()
		<-ended
		wait(time.Minute, 0, "after the client has left")
	})
}

// A client that does not take an event is not sent more.
func TestWatchSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := watched(t)
		client := &watcher{ResponseWriter: httptest.NewRecorder(), err: errors.New("timeout")}
		a.watch(t.Context(), &eventWriter{client, http.NewResponseController(client)}, true)
		if n := client.events.Load(); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

// The client sees changes, without names unless it has the token, until the mirror
// drains.
func TestLive(t *testing.T) {
	a, recorder := watched(t)
	recorder.Note(pull)
	mux := http.NewServeMux()
	mux.HandleFunc(livePath, a.serveLive)
	server := httptest.NewServer(a.opts.Token.need(mux))
	defer server.Close()
	c := NewClient(strings.TrimPrefix(server.URL, "http://"), "absent")
	var seen []status.Status
	err := c.Live(t.Context(), func(s status.Status, raw []byte) error {
		seen = append(seen, s)
		switch len(seen) {
		case 1:
			recorder.Note(pull)
		case 2:
			a.Drain()
		}
		return nil
	})
	if len(seen) != 2 || seen[1].Start.Requests != 2 || !seen[0].Withheld || len(seen[1].Images) != 0 {
		t.Errorf("%+v", seen)
	}
	if !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("the end is %v", err)
	}
	enough := errors.New("enough")
	if err := c.Live(t.Context(), func(status.Status, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("it ends with %v", err)
	}
}

// No more than so many clients watch, and each that leaves makes room for another.
func TestWatchers(t *testing.T) {
	a, _ := watched(t)
	a.Drain() // so that one that is let in ends at once
	for range maxWatchers {
		a.watchers <- struct{}{}
	}
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		a.serveLive(w, httptest.NewRequest(http.MethodGet, livePath, nil))
		return w
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many gets %d %s", w.Code, w.Body)
	}
	<-a.watchers
	for range 2 {
		if w := ask(); w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "data: {") {
			t.Errorf("the last one gets %d %s", w.Code, w.Body)
		}
	}
}
