package main

import (
	"net/http"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
	"mirrord/internal/stack"
	"mirrord/internal/status"
)

// record returns an observer that counts requests for content for the status, and then
// calls next. The mirror asks itself for none. A client that is asked for its login comes
// again with it.
func record(recorder *status.Recorder, next func(*http.Request, proxy.Event)) func(*http.Request, proxy.Event) {
	return func(r *http.Request, e proxy.Event) {
		content := e.Kind == oci.Manifest.String() || e.Kind == oci.Blob.String()
		if content && e.Status != http.StatusUnauthorized {
			recorder.Note(requestOf(r, e))
		}
		next(r, e)
	}
}

func requestOf(r *http.Request, e proxy.Event) status.Request {
	left := r.Context().Err() != nil // which is no failure
	q := status.Request{
		Upstream: e.Upstream, Repository: e.Repository, Reference: e.Reference,
		Manifest: e.Kind == oci.Manifest.String(), Head: r.Method == http.MethodHead, Client: oci.ClientOf(r.Context()).Key(),
		Bytes: e.Bytes, Via: e.Via, Err: e.Err,
		Failed: !left && (e.Cut || oci.Temporary(e.Err) || e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests),
	}
	if left {
		q.Err = nil
	}
	return q
}

// countFetched makes the transports of upstreams count what they receive.
func countFetched(recorder *status.Recorder, upstreams []stack.Upstream) {
	for i := range upstreams {
		u := &upstreams[i]
		u.Transport = recorder.Transport(u.Transport)
		for j := range u.Fallbacks {
			u.Fallbacks[j].Transport = recorder.Transport(u.Fallbacks[j].Transport)
		}
	}
}

// pulls are those saved and spent since the start.
func pulls(c *cache.Cache, ledger *ratelimit.Ledger) (saved, spent int64) {
	for _, n := range c.Stats().Saved {
		saved += n
	}
	for _, b := range ledger.Budgets() {
		spent += b.Spent
	}
	return saved, spent
}

// failingHosts returns how many hosts of upstreams are down, by upstream.
func (d *daemon) failingHosts() map[string]int {
	failing := make(map[string]int)
	for i, p := range d.mirror.Pools() {
		if n := d.mirror.FailingHosts(i); n > 0 {
			failing[p.Name()] = n
		}
	}
	return failing
}
