package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/stack"
	"mirrord/test/mirrortest"
)

// resolve asks a mirror what v1 of publicRepo names.
func (w *world) resolve(mirror *stack.Stack) oci.Result {
	w.t.Helper()
	ref, err := oci.ParseManifest(registry, publicRepo, "v1")
	check(w.t, err)
	result, err := mirror.Registry.Resolve(w.t.Context(), ref)
	check(w.t, err)
	return result
}

// A client whose share is used up gets what another mirror has fetched, which costs no
// pull, and nothing else.
func TestShareUsedUp(t *testing.T) {
	in(t, func(t *testing.T, w *world) {
		first, second := w.start(), w.start(func(o *stack.Options) { o.PerClient = 1 })
		client := oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr("192.0.2.1")})
		pull := func(repo string) error {
			ref, err := oci.ParseManifest(registry, repo, "v1")
			check(t, err)
			_, _, err = ocitest.Read(client, second.Registry, ref)
			return err
		}
		shared := w.push(publicRepo, 1)
		w.push("team/share", 2)
		w.push("team/beyond", 3)
		w.pull(first, publicRepo, shared)
		check(t, pull("team/share"))
		for range 2 { // also once what is shared has been served
			var limit *oci.LimitError
			if err := pull("team/beyond"); !errors.As(err, &limit) || limit.Kind != oci.LimitClient {
				t.Errorf("%v, want the limit of the client", err)
			}
			check(t, pull(publicRepo))
		}
		if n := w.hub.Counters().ManifestGETs; n != 2 {
			t.Errorf("%d pulls, want 2", n)
		}
	})
}

// At the reserve a newer index does not take the place of the stale copy because another
// mirror has put it into the bucket: the image that the client wants of it may not be there.
func TestReserveWithIndex(t *testing.T) {
	inFrontOf(t, hubsim.Options{Limit: pullLimit}, func(t *testing.T, w *world) {
		first := w.start()
		second := w.start(func(o *stack.Options) { o.Upstreams[0].Reserve = func(limit int) int { return limit } })
		push := func(n string) []byte {
			const indexType = "application/vnd.oci.image.index.v1+json"
			raw := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"n":%q}}`, indexType, n)
			w.hub.AddManifest(publicRepo, "v1", indexType, raw)
			return raw
		}
		old := push("1")
		w.pull(second, publicRepo, old)
		newer := push("2")
		<-time.After(mirrortest.Fresh)
		w.pull(first, publicRepo, newer)
		w.pull(second, publicRepo, old)
	})
}

// A mirror with no pulls but its reserve serves a stale copy until another mirror has
// fetched what the tag names now.
func TestReserveWithBucket(t *testing.T) {
	inFrontOf(t, hubsim.Options{Limit: pullLimit}, func(t *testing.T, w *world) {
		first := w.start()
		second := w.start(func(o *stack.Options) { o.Upstreams[0].Reserve = func(limit int) int { return limit } })
		old := w.push(publicRepo, 1)
		w.pull(second, publicRepo, old)
		newer := w.push(publicRepo, 2)
		<-time.After(mirrortest.Fresh)
		if result := w.resolve(second); result.Via != oci.Stale || result.Reason != oci.StaleReason(oci.LimitReserve) {
			t.Errorf("%+v, want the stale copy", result)
		}
		<-time.After(mirrortest.Fresh)
		w.pull(first, publicRepo, newer)
		w.pull(second, publicRepo, newer)
		if n := w.hub.Counters().ManifestGETs; n != 2 {
			t.Errorf("%d pulls, want 2", n)
		}
	})
}
