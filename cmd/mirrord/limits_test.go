package main

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"
)

// nowhere is an upstream that nothing listens on.
const nowhere = "name=docker.io,url=http://127.0.0.1:1"

// A client that sends more than its requests a second waits, and is refused when its
// turn is too far off.
func TestClientsRequestsPerSecond(t *testing.T) {
	const burst, more = 200, 30
	m := newMirror(t)
	check(t, m.serve("--upstream", nowhere, "--clients-catalog=true", "--clients-requests-per-second=1"))
	list := func(ctx context.Context) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.mirror+"/v2/_catalog", nil)
		check(t, err)
		resp, err := client.Do(req)
		if err != nil {
			return nil
		}
		_ = resp.Body.Close()
		return resp
	}
	for range burst {
		if resp := list(t.Context()); resp == nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("within the burst: %+v", resp)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	refused := make(chan *http.Response, more)
	var all sync.WaitGroup
	for range more {
		all.Go(func() {
			if resp := list(ctx); resp != nil && resp.StatusCode != http.StatusOK {
				refused <- resp
			}
		})
	}
	resp := <-refused
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("beyond it: %s, %v", resp.Status, resp.Header)
	}
	leave() // the others wait
	all.Wait()
	if n := m.metrics(t)[`mirrord_clients_refused_total{limit="requests_per_second"}`]; n < 1 {
		t.Error("the refusal is not counted")
	}
	check(t, m.end(terminate))
}

// Cached blobs are sent no faster than the bandwidth of their client, or of all.
func TestClientsBandwidth(t *testing.T) {
	const size, limit, pulls, least = 300_000, "256KiB", 2, 3500 * time.Millisecond // 4.5 s without the burst
	c := newCatalog(t)
	c.addLayers(t, "library/two", 2, size, 1)
	m := newMirror(t)
	check(t, m.serve(c.upstream()))
	c.pullAll(t, m)
	check(t, m.end(terminate))
	for _, flag := range []string{"--clients-bandwidth", "--clients-total-bandwidth"} {
		check(t, m.serve(c.upstream(), flag+"="+limit))
		begun := time.Now()
		for range pulls {
			c.pullAll(t, m)
		}
		if took := time.Since(begun); took < least {
			t.Errorf("%s: %d pulls of %d bytes took %s", flag, pulls, 2*size, took)
		}
		check(t, m.end(terminate))
	}
}
