package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"mirrord/internal/oci"
)

const signatures = "/v2/team/app/manifests/sha256-0123456789abcdef.sig"

// The one table of what error means what on the wire, for each kind.
func TestErrors(t *testing.T) {
	t.Parallel()
	limit := &oci.LimitError{Kind: oci.LimitPulls, Upstream: "docker.io", Message: "enough", RetryAt: time.Now().Add(90 * time.Second)}
	blobs, manifest := blobPath, "/v2/team/app/manifests/3"
	tags, referrers := "/v2/team/app/tags/list", "/v2/team/app/referrers/"+imageRef
	for _, test := range []struct {
		name   string
		err    error
		status int
		code   oci.Code
		paths  []string
	}{
		{"blob unknown", oci.Errorf(oci.BlobUnknown, "no"), 404, oci.BlobUnknown, []string{blobs}},
		{"manifest unknown", oci.Errorf(oci.ManifestUnknown, "no"), 404, oci.ManifestUnknown, []string{manifest, signatures}},
		{"name unknown", oci.Errorf(oci.NameUnknown, "no"), 404, oci.NameUnknown, []string{blobs, manifest, tags, referrers, signatures}},
		{"digest", oci.Errorf(oci.DigestInvalid, "no"), 400, oci.DigestInvalid, []string{blobs, manifest, referrers}},
		{"manifest invalid", oci.Errorf(oci.ManifestInvalid, "no"), 400, oci.ManifestInvalid, []string{manifest}},
		{"name", oci.Errorf(oci.NameInvalid, "no"), 400, oci.NameInvalid, []string{blobs, manifest, tags, referrers}},
		{"denied", oci.Errorf(oci.Denied, "no"), 403, oci.Denied, []string{blobs, manifest, tags, referrers}},
		{"unsupported", oci.Errorf(oci.Unsupported, "no"), 405, oci.Unsupported, []string{tags}},
		{"unavailable", oci.Errorf(oci.Unavailable, "no"), 503, oci.Unavailable, []string{manifest, tags, referrers, signatures}},
		{"any other", errors.New("no"), 503, oci.Unavailable, []string{manifest, tags, referrers, signatures}},
		{"a new code", oci.Errorf("NEW_CODE", "no"), 503, "NEW_CODE", []string{blobs, manifest, tags}},
		{"limit", limit, 503, oci.TooManyRequests, []string{manifest, tags, referrers, signatures}},
		{"blob limit", limit, 404, oci.BlobUnknown, []string{blobs}},
		{"blob unavailable", oci.Errorf(oci.Unavailable, "no"), 404, oci.BlobUnknown, []string{blobs}},
		{"blob, any other", errors.New("no"), 404, oci.BlobUnknown, []string{blobs}},
	} {
		m := start(t, failing(test.err))
		for _, path := range test.paths {
			retry := ""
			if test.err == limit && test.status == 503 {
				retry = "90"
			}
			got := m.do(http.MethodGet, path).wantError(t, test.status, test.code)
			head := m.do(http.MethodHead, path).want(t, test.status, "")
			for _, r := range []reply{got, head} {
				if after := r.Header.Get("Retry-After"); after != retry && after != "89" {
					t.Errorf("Retry-After %q, want %q", after, retry)
				}
				r.wantHeader(t, "X-Mirrord-Cache", "", "Etag", "", "Docker-Content-Digest", "", "Content-Length", strconv.Itoa(len(got.body)))
			}
			temporary := strings.HasPrefix(test.name, "blob ") && test.name != "blob unknown" || test.name == "blob, any other"
			if hasDetail := strings.Contains(string(got.body), `"detail":{"code":"`); hasDetail != temporary {
				t.Errorf("%s: body %s", test.name, got.body)
			}
			if t.Failed() {
				t.Fatalf("%s at %s", test.name, path)
			}
		}
	}
}

// A limit that is over by now is not one of a negative time.
func TestRetryAfterIsPositive(t *testing.T) {
	t.Parallel()
	m := start(t, failing(&oci.LimitError{}))
	m.do(http.MethodGet, "/v2/a/manifests/3").wantHeader(t, "Retry-After", "1")
}

func TestClientThatLeft(t *testing.T) {
	t.Parallel()
	var e Event
	h := New(Options{
		Registry:   failing(context.Canceled),
		Namespaces: Namespaces{Default: oci.DockerHub},
		Observe:    func(_ *http.Request, seen Event) { e = seen },
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, blobPath, nil))
	if w.Body.Len() != 0 || e.Status != statusClientGone || !errors.Is(e.Err, context.Canceled) {
		t.Errorf("%d bytes, observed %+v", w.Body.Len(), e)
	}
}
