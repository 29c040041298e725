package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// The exact headers of every endpoint, the same for GET and HEAD.
func TestHeaders(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	manifest := http.Header{
		"Content-Type": {imageType}, "Docker-Content-Digest": {imageRef}, "Etag": {`"` + imageRef + `"`},
		"X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
	}
	for _, test := range []struct {
		path string
		body string
		want http.Header
	}{
		{"/v2", "{}", http.Header{"Content-Type": {"application/json"}}},
		{"/v2/", "{}", http.Header{"Content-Type": {"application/json"}}},
		{"/v2/library/alpine/manifests/3", image, manifest},
		{"/v2/alpine/manifests/3", image, manifest},
		{"/v2/library/alpine/manifests/" + imageRef, image, manifest},
		{"/v2/library/alpine/manifests/" + strings.Replace(imageRef, ":", "%3A", 1), image, manifest},
		{blobPath, string(blob), http.Header{
			"Content-Type": {"application/octet-stream"}, "Docker-Content-Digest": {blobDigest}, "Etag": {`"` + blobDigest + `"`},
			"Accept-Ranges": {"bytes"}, "Cache-Control": {"max-age=31536000, immutable"}, "X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
		}},
		{"/v2/library/alpine/tags/list", `{"name":"library/alpine","tags":["3"]}`, http.Header{
			"Content-Type": {"application/json"}, "X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
		}},
		{"/v2/alpine/tags/list", `{"name":"alpine","tags":["3"]}`, http.Header{
			"Content-Type": {"application/json"}, "X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
		}},
		{"/v2/library/alpine/tags/list?n=0", `{"name":"library/alpine","tags":[]}`, http.Header{
			"Content-Type": {"application/json"}, "X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
		}},
		{"/v2/library/alpine/referrers/" + imageRef,
			`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`, http.Header{
				"Content-Type": {ocispec.MediaTypeImageIndex}, "X-Mirrord-Cache": {"pass"}, "Cache-Status": {"mirrord; fwd=miss"},
			}},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := m.do(method, test.path, "Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")
			body := test.body
			if method == http.MethodHead {
				body = ""
			}
			r.want(t, http.StatusOK, body)
			r.Header.Del("Date")
			want := test.want.Clone()
			want.Set("Docker-Distribution-Api-Version", "registry/2.0")
			want.Set("Content-Length", fmt.Sprint(len(test.body)))
			if strings.Contains(test.path, "manifests") {
				want.Set("Accept-Ranges", "bytes") // ServeContent says so
			}
			if diff := cmp.Diff(want, r.Header); diff != "" {
				t.Errorf("%s %s:\n%s", method, test.path, diff)
			}
			if e := <-m.events; e.Bytes != int64(len(body)) || e.Status != 200 || e.Err != nil {
				t.Errorf("%s %s: observed %+v", method, test.path, e)
			}
		}
	}
}

func TestStaleHeaders(t *testing.T) {
	t.Parallel()
	for reason, want := range map[oci.StaleReason]string{
		oci.StaleReason(oci.LimitReserve): `299 - "mirrord serves a stale copy: the last pulls are reserved for images that were never pulled"`,
		oci.StaleUnavailable:              `299 - "mirrord serves a stale copy: its registry is unavailable"`,
		oci.StaleRefreshing:               "",
	} {
		a := oci.Result{
			Descriptor: oci.Descriptor{MediaType: imageType, Digest: oci.Digest(imageRef)},
			Via:        oci.Stale, Reason: reason, Checked: time.Now().Add(-90 * time.Minute),
		}
		m := start(t, giving(http.NoBody, a))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			r := m.do(method, "/v2/a/manifests/3").want(t, 200, "").wantHeader(t, "X-Mirrord-Cache", "stale")
			warnings := append(r.Header.Values("Warning"), "")
			if warnings[0] != `110 - "Response is Stale"` || warnings[1] != want {
				t.Errorf("%s %s: warnings %q", method, reason, warnings)
			}
			if age, err := strconv.Atoi(r.Header.Get("Age")); err != nil || age < 5400 || age > 5460 {
				t.Errorf("%s %s: age %d, %v", method, reason, age, err)
			}
		}
	}
	for _, kind := range []oci.LimitKind{oci.LimitPulls, oci.LimitRequests, oci.LimitReserve, oci.LimitClient} {
		if staleMessages[oci.StaleReason(kind)] == "" {
			t.Errorf("no warning for %s", kind)
		}
	}
}

func TestUnknownSize(t *testing.T) {
	t.Parallel()
	fake := filled()
	fake.HideSize()
	r := start(t, fake).do(http.MethodGet, blobPath).want(t, 200, string(blob))
	if r.ContentLength != -1 || len(r.TransferEncoding) != 1 {
		t.Errorf("length %d, encoding %v", r.ContentLength, r.TransferEncoding)
	}
	a := oci.Result{Descriptor: oci.Descriptor{Digest: oci.Digest(blobDigest), Size: oci.UnknownSize}, Via: oci.Pass}
	m := start(t, giving(http.NoBody, a))
	var complaints strings.Builder
	m.server.Config.ErrorLog.SetOutput(&complaints)
	m.do(http.MethodHead, blobPath).want(t, 200, "").wantHeader(t, "Content-Length", "")
	<-m.events
	if complaints.Len() > 0 {
		t.Error(complaints.String())
	}
}

func TestNotModified(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	for path, d := range map[string]string{blobPath: blobDigest, "/v2/alpine/manifests/3": imageRef} {
		for _, tag := range []string{`"` + d + `"`, `W/"` + d + `"`, `"x", "` + d + `"`, "*"} {
			r := m.do(http.MethodGet, path, "If-None-Match", tag).want(t, http.StatusNotModified, "")
			r.wantHeader(t, "Etag", `"`+d+`"`, "X-Mirrord-Cache", "pass")
		}
		if r := m.do(http.MethodGet, path, "If-None-Match", `"other"`); r.StatusCode != 200 {
			t.Errorf("another tag: %d", r.StatusCode)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	m := start(t, failing(nil))
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CUSTOM"} {
		for _, path := range []string{"/v2/", blobPath, "/v2/a/manifests/3", "/v2/a/tags/list", "/v2/a/blobs/uploads/", "/elsewhere"} {
			m.do(method, path).wantError(t, http.StatusMethodNotAllowed, oci.Unsupported).wantHeader(t, "Allow", "GET, HEAD")
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	m := start(t, failing(nil))
	for path, want := range map[string]struct {
		status int
		code   oci.Code
	}{
		"/":                             {404, oci.NameUnknown},
		"/v1/_ping":                     {404, oci.NameUnknown},
		"/v2x/":                         {404, oci.NameUnknown},
		"/v2/_catalog":                  {404, oci.Unsupported},
		"/v2/alpine":                    {404, oci.Unsupported},
		"/v2/manifests/3":               {404, oci.Unsupported},
		"/v2//manifests/3":              {404, oci.Unsupported},
		"/v2/a/b/c":                     {404, oci.Unsupported},
		"/v2/a/manifests/%zz":           {400, ""},
		"/extensions/v2/a/signatures/x": {404, oci.Unsupported},
	} {
		if want.code == "" {
			if r := m.raw(path); r.StatusCode != want.status {
				t.Errorf("%s: %d", path, r.StatusCode)
			}
			continue
		}
		m.do(http.MethodGet, path).wantError(t, want.status, want.code)
		m.do(http.MethodHead, path).want(t, want.status, "").wantHeader(t, "Content-Type", "application/json")
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	fake := new(ocitest.Fake)
	for _, tag := range []string{"a", "b", "c"} {
		fake.AddManifest("library/alpine", tag, imageType, []byte("{}"))
		fake.AddManifest("team/app", tag, imageType, []byte("{}"))
	}
	m := start(t, fake)
	for path, want := range map[string]string{
		"/v2/alpine/tags/list?n=2":                         `</v2/alpine/tags/list?last=b&n=2>; rel="next"`,
		"/v2/alpine/tags/list?n=2&ns=docker.io":            `</v2/alpine/tags/list?last=b&n=2&ns=docker.io>; rel="next"`,
		"/v2/team/app/tags/list?ns=my.registry%3A5000&n=1": `</v2/team/app/tags/list?last=a&n=1&ns=my.registry%3A5000>; rel="next"`,
		"/v2/docker.io/alpine/tags/list?n=2":               `</v2/docker.io/alpine/tags/list?last=b&n=2>; rel="next"`,
		"/docker.io/v2/alpine/tags/list?n=2":               `</docker.io/v2/alpine/tags/list?last=b&n=2>; rel="next"`,
		"/corp/v2/team/app/tags/list?n=2&ns=corp":          `</corp/v2/team/app/tags/list?last=b&n=2&ns=corp>; rel="next"`,
		"/v2/my.registry%3A5000/team/app/tags/list?n=2":    `</v2/my.registry%3A5000/team/app/tags/list?last=b&n=2>; rel="next"`,
		"/v2/alpine/tags/list?n=3":                         "",
		"/v2/alpine/tags/list?n=0":                         "",
		"/v2/alpine/tags/list?last=a&n=9":                  "",
		"/v2/alpine/tags/list?n=99999999999999999999":      "",
	} {
		m.do(http.MethodGet, path).wantHeader(t, "Link", want)
	}
	next := m.do(http.MethodGet, "/v2/alpine/tags/list?n=2&ns=docker.io").Header.Get("Link")
	path, _, _ := strings.Cut(strings.TrimPrefix(next, "<"), ">")
	m.do(http.MethodGet, path).want(t, 200, `{"name":"alpine","tags":["c"]}`)
	for _, n := range []string{"x", "-1", "1.5", "0x1", "1e3"} {
		m.do(http.MethodGet, "/v2/alpine/tags/list?n="+n).wantError(t, 400, oci.Unsupported)
	}
}

// The query of a list is passed to the upstream unchanged, but without ns; and the
// upstream's link to the next page cannot break out of the header.
func TestListQuery(t *testing.T) {
	t.Parallel()
	var asked string
	m := start(t, scripted{list: func(_ context.Context, q oci.Listing) (*oci.Page, error) {
		asked = q.Query()
		return &oci.Page{Index: []byte("{}"), Next: "p=<a>\r\nX: y", FiltersApplied: "artifactType", Via: oci.Hit}, nil
	}})
	r := m.do(http.MethodGet, "/v2/a/b/referrers/"+imageRef+"?artifactType=a%2Fb&ns=ghcr.io&next_page=x%3D%3D")
	r.want(t, 200, "{}").wantHeader(t, "Oci-Filters-Applied", "artifactType", "X", "", "Oci-Namespace", "ghcr.io",
		"Link", `</v2/a/b/referrers/`+imageRef+`?p=%3Ca%3EX:%20y&ns=ghcr.io>; rel="next"`)
	if asked != "artifactType=a%2Fb&next_page=x%3D%3D" {
		t.Errorf("the upstream was asked %q", asked)
	}
}
