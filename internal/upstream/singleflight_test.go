package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// slowTokens answers with h, for tokens after a second.
func slowTokens(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			<-time.After(time.Second)
		}
		h.ServeHTTP(w, r)
	}
}

// A login of unknown standing is used once; when that has shown that it is good,
// those who have waited use it at the same time, not one after the other.
func TestGoodLoginIsUsedAtOnce(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users})
	u, err := url.Parse(h.URL())
	check(t, err)
	for i := range 10 {
		h.AddManifest(fmt.Sprint("corp/r", i), "v1", imageType, []byte("{}"))
	}
	synctest.Test(t, func(t *testing.T) {
		c := connectBy(t, u, inProcess{slowTokens(h)}, "small", "right")
		begun := time.Now()
		var group errgroup.Group
		for i := range 10 {
			group.Go(func() error {
				_, err := c.Resolve(t.Context(), refOf(t, fmt.Sprint("corp/r", i)))
				return err
			})
		}
		check(t, group.Wait())
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("10 repositories took %v, want 1 s for the first and 1 s for all others", took)
		}
	})
}

// A ping serves all who wait for it: who leaves does not end it for the others.
func TestPingOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, err := url.Parse("http://registry.example")
		check(t, err)
		var pings atomic.Int32
		c := connectBy(t, u, inContext{func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				pings.Add(1)
				select {
				case <-time.After(time.Second):
				case <-r.Context().Done():
				}
				return
			}
			answer(200, "{}", "Content-Type", imageType)(w, r)
		}})
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := c.tokens.discover(first)
			left <- err
		}()
		synctest.Wait()
		time.AfterFunc(time.Second/2, leave)
		begun := time.Now()
		_, err = c.Open(t.Context(), manifestRef(t, "v1"))
		check(t, err)
		if took := time.Since(begun); took != time.Second || pings.Load() != 1 {
			t.Errorf("%d pings took %v, want 1 in 1 s", pings.Load(), took)
		}
		if err := <-left; err == nil {
			t.Error("who has left was answered")
		}
	})
}

// inContext is inProcess for handlers that heed the end of a request.
type inContext struct{ http.HandlerFunc }

func (p inContext) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := inProcess{p.HandlerFunc}.RoundTrip(req)
	if why := context.Cause(req.Context()); why != nil {
		return nil, why
	}
	return resp, err
}

// A caller that shares another's token exchange is told of its progress too, or
// a distant upstream would be taken for silent.
func TestProgressOfASharedToken(t *testing.T) {
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	h.AddManifest(repo, "v2", imageType, []byte("{}"))
	h.Inject(hubsim.Fault{Op: "token", Latency: 50 * time.Millisecond})
	c := connect(t, h.URL())
	var told [2]atomic.Int32
	var group errgroup.Group
	for i := range told {
		group.Go(func() error {
			ctx := oci.WithProgress(t.Context(), func() { told[i].Add(1) })
			ctx, _, cancel := c.withResponseTimeout(ctx)
			defer cancel()
			_, err := c.tokens.authorization(ctx, pullFrom(repo))
			return err
		})
	}
	check(t, group.Wait())
	if told[0].Load() == 0 || told[1].Load() == 0 {
		t.Errorf("told %d and %d times", told[0].Load(), told[1].Load())
	}
}
