package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

const signatures = "/v2/team/app/manifests/sha256-0123456789abcdef.sig"

// The table of errors and their responses, for each kind of content.
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
		{"name", oci.Errorf(oci.NameInvalid, "no"), 404, oci.NameInvalid, []string{blobs, manifest, tags, referrers}},
		{"denied", oci.Errorf(oci.Denied, "no"), 403, oci.Denied, []string{blobs, manifest, tags, referrers}},
		{"unsupported", oci.Errorf(oci.Unsupported, "no"), 405, oci.Unsupported, []string{tags}},
		{"parameter", oci.Errorf(oci.Unsupported, "%w", oci.ErrParameter), 400, oci.Unsupported, []string{tags, referrers}},
		{"no referrers", oci.Errorf(oci.Unsupported, "%w", oci.ErrNoReferrers), 404, oci.Unsupported, []string{referrers}},
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
			if warned := strings.HasPrefix(got.Header.Get("Warning"), `299 - "mirrord: `); warned != oci.Temporary(test.err) {
				t.Errorf("%s: Warning %q", test.name, got.Header.Get("Warning"))
			}
			if t.Failed() {
				t.Fatalf("%s at %s", test.name, path)
			}
		}
	}
}

// Retry-After is not negative for a limit that has ended meanwhile.
func TestRetryAfterIsPositive(t *testing.T) {
	t.Parallel()
	m := start(t, failing(&oci.LimitError{}))
	m.do(http.MethodGet, "/v2/a/manifests/3").wantHeader(t, "Retry-After", "1")
}

// The Warning of a 503 is one valid line, whatever the message contains.
func TestWarningIsOneQuotedString(t *testing.T) {
	t.Parallel()
	m := start(t, failing(oci.Errorf(oci.Unavailable, "answered %s%s", "\"503\\\": caf\u00e9\r\nSet-Cookie: x ", strings.Repeat("y", 2000))))
	got := m.do(http.MethodGet, "/v2/a/manifests/3").Header.Get("Warning")
	const want = `299 - "mirrord: answered '503'': caf''''Set-Cookie: x yyy`
	if !strings.HasPrefix(got, want) || strings.Count(got, `"`) != 2 || !strings.HasSuffix(got, `y"`) || len(got) > 600 {
		t.Errorf("Warning: %s", got)
	}
}

// The error for an upstream that is not configured names it.
func TestErrorNamesUnknownNamespace(t *testing.T) {
	t.Parallel()
	m := start(t, failing(errors.New("not to be asked")))
	for query, want := range map[string]string{
		"?ns=quay.io":                      `no upstream is named "quay.io" (ns), so "a" cannot be pulled`,
		"?ns=" + strings.Repeat("x", 5000): strings.Repeat("x", 128) + `" (ns)`,
		"?ns=docker.io&ns=ghcr.io":         "docker.io (ns) and ghcr.io (ns)",
	} {
		got := m.do(http.MethodGet, "/v2/a/manifests/3"+query).wantError(t, 404, oci.NameUnknown)
		var answer struct{ Errors []struct{ Message string } }
		if err := json.Unmarshal(got.body, &answer); err != nil || !strings.Contains(answer.Errors[0].Message, want) {
			t.Errorf("%.40s: %s, %v", query, got.body, err)
		}
	}
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	var e Event
	h := New(Options{
		Registry: failing(context.Canceled),
		Routes:   route.NewTable(route.Upstream{Name: oci.DockerHub}),
		Observe:  func(_ *http.Request, seen Event) { e = seen },
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, blobPath, nil))
	if w.Body.Len() != 0 || e.Status != statusClientGone || !errors.Is(e.Err, context.Canceled) {
		t.Errorf("%d bytes, observed %+v", w.Body.Len(), e)
	}
}
