package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// gate is a Limiter that admits one request at a time.
type gate struct{ inside atomic.Int32 }

func (g *gate) Enter(context.Context) error {
	if g.inside.Add(1) > 1 {
		g.inside.Add(-1)
		return &oci.LimitError{Kind: oci.LimitInFlight, Client: "192.0.2.1", Limit: 1, RetryAt: time.Now().Add(time.Second)}
	}
	return nil
}

func (g *gate) Leave(context.Context) { g.inside.Add(-1) }

// A client with too many requests in flight gets an error after which it tries the
// next host, and is served again when one has ended. A ping is always served.
func TestLimit(t *testing.T) {
	t.Parallel()
	opened, release := make(chan struct{}), make(chan struct{})
	registry := filled()
	g := new(gate)
	handler := New(Options{Limit: g, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub}), Registry: scripted{
		open: func(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
			if ref.Tag() == "slow" {
				close(opened)
				<-release
			}
			return registry.Open(ctx, ref)
		},
	}})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	slow := make(chan int)
	go func() { slow <- get("/v2/library/alpine/manifests/slow").Code }()
	<-opened
	for path, status := range map[string]int{
		"/v2/":                              200,
		"/v2/library/alpine/manifests/3":    503,
		"/v2/library/alpine/tags/list":      503,
		blobPath:                            404,
		"/v2/library/alpine/manifests/not$": 503,
	} {
		if got := get(path); got.Code != status {
			t.Errorf("GET %s beside another: %d, want %d: %s", path, got.Code, status, got.Body)
		}
	}
	close(release)
	if status := <-slow; status != http.StatusNotFound {
		t.Errorf("the slow one: %d", status)
	}
	if got := get(blobPath); got.Code != http.StatusOK || g.inside.Load() != 0 {
		t.Errorf("after it: %d, %d inside", got.Code, g.inside.Load())
	}
}
