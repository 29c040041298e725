package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
)

const (
	pullLimit = 20
	reserved  = 2 // pulls

	imageType = "application/vnd.oci.image.manifest.v1+json"
)

// limited runs a test in front of a registry that allows twenty pulls.
func limited(t *testing.T, test func(t *testing.T, w *world, mirrors []*stack.Stack)) {
	inFrontOf(t, hubsim.Options{Limit: pullLimit}, func(t *testing.T, w *world) {
		var mirrors []*stack.Stack
		for range 2 {
			mirrors = append(mirrors, w.start(func(o *stack.Options) {
				o.Upstreams[0].Reserve = func(int) int { return reserved }
			}))
		}
		test(t, w, mirrors)
	})
}

// pullMany pulls images that were never pulled through the mirrors in turn, a few at once.
// It returns how many it got, and wants a limit of a kind for all others.
func (w *world) pullMany(ctx context.Context, mirrors []*stack.Stack, name string, count int, kind oci.LimitKind) (got int) {
	w.t.Helper()
	const atOnce = 3
	turns := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range count {
		repo := fmt.Sprintf("team/%s%d", name, i)
		w.hub.AddManifest(repo, "v1", imageType, fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"annotations":{"n":%q}}`, imageType, repo))
		ref, err := oci.ParseManifest(registry, repo, "v1")
		check(w.t, err)
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			_, _, err := ocitest.Read(ctx, mirrors[i%len(mirrors)].Registry, ref)
			mu.Lock()
			defer mu.Unlock()
			var limit *oci.LimitError
			if err == nil {
				got++
			} else if !errors.As(err, &limit) || limit.Kind != kind {
				w.t.Errorf("%s: %v, want a limit of %s", ref, err, kind)
			}
		})
	}
	all.Wait()
	return got
}

// Two mirrors behind one address spend the pulls of that together: none of the reserve in the
// background, all of them for clients, and the registry refuses none.
func TestSharedBudget(t *testing.T) {
	limited(t, func(t *testing.T, w *world, mirrors []*stack.Stack) {
		w.pullMany(oci.WithBackground(t.Context()), mirrors, "warm", 30, oci.LimitReserve)
		if n := w.hub.Counters(); n.ManifestGETs != pullLimit-reserved || n.Refused > 0 {
			t.Errorf("in the background: %d pulls were counted, %d refused; want %d and none", n.ManifestGETs, n.Refused, pullLimit-reserved)
		}
		<-time.After(3 * time.Second)
		if got := w.pullMany(t.Context(), mirrors, "client", 10, oci.LimitPulls); got != reserved {
			t.Errorf("clients got %d of the reserve of %d", got, reserved)
		}
		if n := w.hub.Counters(); n.ManifestGETs != pullLimit || n.Refused > 0 {
			t.Errorf("%d pulls were counted, %d refused; want %d and none", n.ManifestGETs, n.Refused, pullLimit)
		}
		for _, m := range mirrors {
			b := m.Pools()[0].Members()[0].Budget()
			if !b.Shared || b.Remaining > 0 || m.CheckReserve(registry) == nil {
				t.Errorf("%+v, want none left", b)
			}
		}
	})
}

// After the first refusal no mirror sends a pull, until one tests the limit.
func TestSharedRefusal(t *testing.T) {
	limited(t, func(t *testing.T, w *world, mirrors []*stack.Stack) {
		if got := w.pullMany(t.Context(), mirrors, "client", 4, oci.LimitPulls); got != 4 {
			t.Fatalf("%d of 4 pulls", got)
		}
		<-time.After(3 * time.Second)
		restore := w.hub.Inject(hubsim.Fault{Op: "manifest", PullLimit: true})
		if got := w.pullMany(t.Context(), mirrors[:1], "refused", 1, oci.LimitPulls); got > 0 {
			t.Fatal("it was not refused")
		}
		restore()
		<-time.After(500 * time.Millisecond)
		before := w.hub.Counters().ManifestRequests
		if got := w.pullMany(t.Context(), mirrors[1:], "other", 5, oci.LimitPulls); got > 0 || w.hub.Counters().ManifestRequests > before {
			t.Errorf("%d pulls, %d requests after the refusal", got, w.hub.Counters().ManifestRequests-before)
		}
		<-time.After(5 * time.Second)
		if got := w.pullMany(t.Context(), mirrors, "later", 4, oci.LimitPulls); got == 0 {
			t.Error("no pulls once the limit is over")
		}
	})
}
