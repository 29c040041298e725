package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"mirrord/internal/oci"
)

func TestCatalog(t *testing.T) {
	t.Parallel()
	h := New(Options{Registry: failing(errors.New("not to be asked")), Routes: routes, Catalog: func(context.Context) map[string][]string {
		return map[string][]string{oci.DockerHub: {"library/alpine", "team/app"}, "ghcr.io": {"a/b"}}
	}})
	for path, want := range map[string]struct{ body, link string }{
		"/v2/_catalog":                         {`{"repositories":["ghcr.io/a/b","library/alpine","team/app"]}`, ""},
		"/v2/_catalog?n=2":                     {`{"repositories":["ghcr.io/a/b","library/alpine"]}`, `</v2/_catalog?last=library%2Falpine&n=2>; rel="next"`},
		"/v2/_catalog?n=2&last=library/alpine": {`{"repositories":["team/app"]}`, ""},
		"/v2/_catalog?n=3":                     {`{"repositories":["ghcr.io/a/b","library/alpine","team/app"]}`, ""},
		"/v2/_catalog?n=0":                     {`{"repositories":[]}`, ""},
		"/v2/_catalog?last=m":                  {`{"repositories":["team/app"]}`, ""},
		"/v2/_catalog?last=zzz":                {`{"repositories":[]}`, ""},
		"/v2/_catalog?n=99999999999999999999":  {`{"repositories":["ghcr.io/a/b","library/alpine","team/app"]}`, ""},
		"/v2/_catalog?ns=docker.io&n=1":        {`{"repositories":["library/alpine"]}`, `</v2/_catalog?last=library%2Falpine&n=1&ns=docker.io>; rel="next"`},
		"/ghcr.io/v2/_catalog":                 {`{"repositories":["a/b"]}`, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || w.Body.String() != want.body || w.Header().Get("Link") != want.link {
			t.Errorf("%s: %d %s, Link %q", path, w.Code, w.Body, w.Header().Get("Link"))
		}
	}
	for path, status := range map[string]int{"/v2/_catalog?n=x": 400, "/v2/_catalog?ns=quay.io": 404, "/quay.io/v2/_catalog": 404, "/v2/_catalog/": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// Without a Catalog there is none, and a search says why it fails.
func TestNoCatalog(t *testing.T) {
	t.Parallel()
	m := start(t, failing(errors.New("not to be asked")))
	m.do(http.MethodGet, "/v2/_catalog").wantError(t, 404, oci.Unsupported)
	m.do(http.MethodGet, "/v1/search?q=alpine").wantError(t, 404, oci.NameUnknown)
}
