//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mirrord/internal/hubsim"
)

// slowDown is in front of an object store, and answers 503 in its place while it is on.
type slowDown struct {
	on      atomic.Bool
	refused atomic.Int64
	next    http.Handler
}

func (s *slowDown) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.on.Load() {
		s.next.ServeHTTP(w, r)
		return
	}
	s.refused.Add(1)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
}

// behind returns the store as it is reached through s.
func (s *objectStore) behind(t *testing.T, front *slowDown) *objectStore {
	t.Helper()
	front.next = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.address})
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	return &objectStore{home: s.home, address: strings.TrimPrefix(server.URL, "http://")}
}

// outage has clients pull from three mirrors while the object store fails, which begins when
// the first of them reads from another one, and ends when end returns. All clients get
// everything, and then the bucket has it.
func outage(t *testing.T, hub *hubsim.Hub, store *objectStore, mirrors []*mirror, begin, end func()) {
	t.Helper()
	defer hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 256 << 10})()
	images := publishMany(t, hub, 12, 2, 512<<10)
	l := startLoad(t, images, 2, mirrors...)
	mirrors[0].process.await(t, time.Minute, func() bool {
		return sum(t, "mirrord_fleet_fetches_total", `role="waiter"`, mirrors...) > 0
	})
	begin()
	begun := time.Now()
	served := make(chan time.Duration, 1)
	go func() {
		l.clients.Wait()
		served <- time.Since(begun)
	}()
	end()
	failed := time.Since(begun)
	waiting := sum(t, "mirrord_fleet_uploads_waiting", "", mirrors...)
	got := <-served
	store.wantShared(t, images, mirrors...)
	t.Logf("the object store failed for %.1f s, then %d uploads waited; clients had everything after %.1f s, the bucket after %.1f s",
		failed.Seconds(), waiting, got.Seconds(), time.Since(begun).Seconds())
	if waiting == 0 {
		t.Error("no upload waited for the object store")
	}
}

// The object store is killed while mirrors hold leases on it, and comes back.
func TestFleetStoreKilled(t *testing.T) {
	hub, store := startHub(t), startStore(t)
	mirrors := startThree(t, hub, store)
	outage(t, hub, store, mirrors, store.process.kill, func() {
		time.Sleep(4 * time.Second)
		store.start(t)
	})
}

// The object store answers 503 for a minute: mirrors leave it alone after the first failures,
// for 5 s, and each time that it fails again for twice as long.
func TestFleetSlowDown(t *testing.T) {
	hub, store, front := startHub(t), startStore(t), new(slowDown)
	mirrors := startThree(t, hub, store.behind(t, front))
	outage(t, hub, store, mirrors, func() { front.on.Store(true) }, func() {
		time.Sleep(time.Minute)
		front.on.Store(false)
	})
	t.Logf("%d requests were answered 503", front.refused.Load())
}
