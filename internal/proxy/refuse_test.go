package proxy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// A refused request gets the error of the spec, and is observed like one that is served.
func TestRefuse(t *testing.T) {
	limit := &oci.LimitError{Kind: oci.LimitLogins, Client: "192.0.2.1", RetryAt: time.Now().Add(6 * time.Second)}
	for name, test := range map[string]struct {
		method, path string
		err          error
		status       int
		code         oci.Code
		retryAfter   string
		want         Event
	}{
		"ping":     {"GET", "/v2/", oci.Errorf(oci.Unauthorized, "who?"), 401, oci.Unauthorized, "", Event{Operation: "ping", Kind: "none"}},
		"manifest": {"HEAD", "/v2/a/manifests/1", oci.Errorf(oci.Unauthorized, "who?"), 401, "", "", Event{Operation: "head", Kind: "manifest", Upstream: "docker.io", Repository: "library/a", Reference: "1"}},
		"push":     {"POST", "/v2/a/blobs/uploads/", oci.Errorf(oci.Denied, "no"), 403, oci.Denied, "", Event{Operation: "other", Kind: "none"}},
		"nonsense": {"GET", "/nonsense", oci.Errorf(oci.Unauthorized, "who?"), 401, oci.Unauthorized, "", Event{Operation: "other", Kind: "none"}},
		"too often": {"GET", "/v2/a/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", limit, 429, oci.TooManyRequests, "6",
			Event{Operation: "get", Kind: "blob", Upstream: "docker.io", Repository: "library/a", Reference: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}},
		"invalid": {"GET", "/v2/A/manifests/1", oci.Errorf(oci.Denied, "no"), 403, oci.Denied, "", Event{Operation: "get", Kind: "manifest"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got Event
			h := New(Options{Routes: route.NewTable(route.Upstream{Name: "docker.io"}), Observe: func(_ *http.Request, e Event) { got = e }})
			w := httptest.NewRecorder()
			h.Refuse(w, httptest.NewRequest(test.method, test.path, nil), test.err)
			var body struct{ Errors []specError }
			if w.Body.Len() > 0 {
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
					t.Fatal(err)
				}
			}
			if w.Code != test.status || w.Header().Get("Retry-After") != test.retryAfter || w.Header().Get("Docker-Distribution-Api-Version") != "registry/2.0" || w.Header().Get("Warning") != "" {
				t.Errorf("status %d, header %v", w.Code, w.Header())
			}
			if test.code != "" && (len(body.Errors) != 1 || body.Errors[0].Code != test.code || body.Errors[0].Message != test.err.Error()) {
				t.Errorf("body %s", w.Body)
			}
			if got.Err != test.err || got.Status != test.status {
				t.Errorf("observed %v, %d", got.Err, got.Status)
			}
			got.Err, got.Status, got.Bytes, got.Duration = nil, 0, 0, 0
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
