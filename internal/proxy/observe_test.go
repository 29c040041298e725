package proxy

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mirrord/internal/oci"
)

// The exact Event of each request, as for the log and the metrics.
func TestEvents(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	const repo, hub = "library/alpine", "docker.io"
	absent := oci.FromBytes([]byte("absent")).String()
	for _, test := range []struct {
		method, path, ranges string
		want                 Event
	}{
		{"GET", "/v2/", "", Event{Operation: "ping", Kind: "none", Status: 200, Bytes: 2}},
		{"HEAD", "/v2", "", Event{Operation: "ping", Kind: "none", Status: 200}},
		{"GET", "/v2/alpine/manifests/3?ns=index.docker.io", "", Event{"get", "manifest", hub, repo, "3", 200, int64(len(image)), 0, oci.Pass, "", nil, false}},
		{"HEAD", "/v2/alpine/manifests/3", "", Event{"head", "manifest", hub, repo, "3", 200, 0, 0, oci.Pass, "", nil, false}},
		{"GET", blobPath, "", Event{"get", "blob", hub, repo, blobDigest, 200, 10_000, 0, oci.Pass, "", nil, false}},
		{"GET", blobPath, "bytes=0-9", Event{"get", "blob", hub, repo, blobDigest, 206, 10, 0, oci.Pass, "", nil, false}},
		{"HEAD", blobPath, "", Event{"head", "blob", hub, repo, blobDigest, 200, 0, 0, oci.Pass, "", nil, false}},
		{"GET", "/v2/alpine/tags/list", "", Event{"list", "tags", hub, repo, "", 200, int64(len(`{"name":"alpine","tags":["3"]}`)), 0, oci.Pass, "", nil, false}},
		{"HEAD", "/v2/alpine/tags/list", "", Event{"list", "tags", hub, repo, "", 200, 0, 0, oci.Pass, "", nil, false}},
		{"GET", "/v2/alpine/referrers/" + imageRef, "", Event{"list", "referrers", hub, repo, imageRef, 200, int64(len(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)), 0, oci.Pass, "", nil, false}},
		{"HEAD", "/v2/alpine/blobs/" + absent, "", Event{"head", "blob", hub, repo, absent, 404, 0, 0, "", "", errAny, false}},
		{"HEAD", "/v2/alpine/manifests/3?ns=quay.io", "", Event{Operation: "head", Kind: "manifest", Status: 404, Err: errAny}},
		{"HEAD", "/v2/Alpine/manifests/3", "", Event{Operation: "head", Kind: "manifest", Upstream: hub, Status: 404, Err: errAny}},
		{"HEAD", "/elsewhere", "", Event{Operation: "other", Kind: "none", Status: 404, Err: errAny}},
	} {
		m.do(test.method, test.path, "Range", test.ranges)
		got := <-m.events
		if test.want.Err != nil && got.Err != nil {
			got.Err = errAny
		}
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Event{}, "Duration"), cmpopts.EquateErrors()); diff != "" || got.Duration <= 0 {
			t.Errorf("%s %s: took %v\n%s", test.method, test.path, got.Duration, diff)
		}
	}
	r := m.do(http.MethodPut, blobPath)
	want := Event{Operation: "other", Kind: "blob", Status: 405, Bytes: int64(len(r.body)), Err: errAny}
	got := <-m.events
	got.Err = errAny
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Event{}, "Duration"), cmpopts.EquateErrors()); diff != "" {
		t.Error(diff)
	}
}

// errAny stands for any error of an event.
var errAny = oci.Errorf("ANY", "any")
