package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// Those who ask for budgets without a token, in a crowd, do not make the mirror ask its
// upstreams as often.
func TestCrowdAsksForBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		pool := upstream.NewPool(upstream.PoolOptions{Name: "docker.io",
			Members: []upstream.Member{{Name: "default", Budget: func() ratelimit.Budget { return ratelimit.Budget{Upstream: "docker.io"} }}},
			Reach:   func(context.Context) error { asked.Add(1); time.Sleep(time.Second); return errors.New("unplugged") },
		})
		a := New(Options{Pools: func() []*upstream.Pool { return []*upstream.Pool{pool} }})
		for round := range int32(2) {
			var crowd sync.WaitGroup
			for range 20 {
				crowd.Go(func() {
					w := httptest.NewRecorder()
					respond(a.budgets)(w, httptest.NewRequest(http.MethodGet, "/quota", nil))
					if !strings.Contains(w.Body.String(), "unplugged") {
						t.Error(w.Body)
					}
				})
			}
			crowd.Wait()
			if n := asked.Load(); n != round+1 {
				t.Errorf("the upstream is asked %d times", n)
			}
			time.Sleep(checkEvery)
		}
	})
}
