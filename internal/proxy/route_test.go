package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// shapes are the ways in which clients name an upstream. Each returns the path and the
// query of a request for what follows /v2/, and its Host header.
var shapes = map[string]func(upstream, path string) (url, host string){
	"ns":            func(u, path string) (string, string) { return "/v2/" + path + "?ns=" + u, "" },
	"prefix":        func(u, path string) (string, string) { return "/" + u + "/v2/" + path, "" },
	"prefix and ns": func(u, path string) (string, string) { return "/" + u + "/v2/" + path + "?ns=" + u, "" },
	"component":     func(u, path string) (string, string) { return "/v2/" + u + "/" + path, "" },
	"component, ns": func(u, path string) (string, string) { return "/v2/" + u + "/" + path + "?ns=" + u, "" },
	"component, escape": func(u, path string) (string, string) {
		return "/v2/" + strings.ReplaceAll(u, ":", "%3A") + "/" + path, ""
	},
	"host": func(u, path string) (string, string) { return "/v2/" + path, hostOf[u] },
	"host and all": func(u, path string) (string, string) {
		return "/" + u + "/v2/" + u + "/" + path + "?ns=" + u, hostOf[u]
	},
}

var hostOf = map[string]string{oci.DockerHub: "hub.mirror.example", "ghcr.io": "ghcr.mirror.example:5000", "my.registry:5000": "corp.mirror.example"}

// asked is what a Registry was asked for last.
type asked struct{ what string }

func (a *asked) registry() oci.Registry {
	return scripted{
		resolve: func(_ context.Context, ref oci.Ref) (oci.Result, error) {
			a.what = ref.Kind().String() + " " + ref.String()
			return oci.Result{Via: oci.Hit}, nil
		},
		list: func(_ context.Context, q oci.Listing) (*oci.Page, error) {
			a.what = q.String()
			return &oci.Page{Index: []byte("{}"), Via: oci.Hit}, nil
		},
	}
}

// Every shape reaches every upstream with every endpoint.
func TestRouting(t *testing.T) {
	t.Parallel()
	var a asked
	m := start(t, a.registry())
	for name, shape := range shapes {
		for upstream := range hostOf {
			for path, want := range map[string]string{
				"org/app/manifests/3":           "manifest " + upstream + "/org/app:3",
				"org/app/manifests/" + imageRef: "manifest " + upstream + "/org/app@" + imageRef,
				"org/app/blobs/" + imageRef:     "blob " + upstream + "/org/app@" + imageRef,
				"org/app/tags/list":             upstream + " org/app tags  ",
				"org/app/referrers/" + imageRef: upstream + " org/app referrers " + imageRef + " ",
			} {
				a.what = ""
				url, host := shape(upstream, path)
				method := http.MethodHead
				if strings.HasPrefix(want, upstream) { // lists have no HEAD that differs
					method = http.MethodGet
				}
				r := m.send(method, url, host)
				if a.what != want || r.StatusCode != http.StatusOK {
					t.Errorf("%s: %s: status %d, asked for %q; want %q", name, url, r.StatusCode, a.what, want)
				}
				if e := <-m.events; e.Upstream != upstream || e.Repository != "org/app" {
					t.Errorf("%s: %s: observed %s, %s", name, url, e.Upstream, e.Repository)
				}
			}
		}
	}
}

// send sends a request with that Host header, if it is not empty.
func (m *mirror) send(method, path, host string) *http.Response {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.server.URL+path, nil)
	check(m.t, err)
	if host != "" {
		req.Host = host
	}
	resp, err := m.client.Do(req)
	check(m.t, err)
	check(m.t, resp.Body.Close())
	return resp
}

// What names no upstream, or two, reaches none.
func TestRoutingRefuses(t *testing.T) {
	t.Parallel()
	var a asked
	m := start(t, a.registry())
	for _, url := range []string{
		"/v2/alpine/manifests/3?ns=quay.io", "/v2/alpine/manifests/3?ns=169.254.169.254", "/v2/alpine/manifests/3?ns=docker.io.",
		"/v2/alpine/manifests/3?ns=docker.io&ns=ghcr.io", "/v2/alpine/manifests/3?ns=ghcr.io&ns=",
		"/quay.io/v2/a/manifests/3", "/quay.io/v2/", "/mirror/v2/a/manifests/3", "/v2/quay.io/a/manifests/3", "/v2/10.0.0.1/a/manifests/3",
		"/ghcr.io/v2/a/manifests/3?ns=docker.io", "/v2/ghcr.io/a/manifests/3?ns=docker.io",
		"/v2/ghcr.io/manifests/3", "/v2/quay.io/tags/list",
	} {
		if r := m.send(http.MethodGet, url, ""); r.StatusCode != http.StatusNotFound || a.what != "" {
			t.Errorf("%s: status %d, asked for %q", url, r.StatusCode, a.what)
		}
		if e := <-m.events; oci.CodeOf(e.Err) != oci.NameUnknown || e.Upstream != "" {
			t.Errorf("%s: observed %+v", url, e)
		}
	}
	m.do(http.MethodGet, "/v2/alpine/manifests/3?ns=quay.io").wantError(t, 404, oci.NameUnknown)
	// A malformed ns must not be ignored.
	for _, query := range []string{"ns=ghcr.io;", "ns=%zz", "ns=ghcr.io%"} {
		m.raw("/v2/alpine/manifests/3?"+query).wantError(t, 400, oci.Unsupported)
	}
}

// The ns of a request is echoed as the client wrote it.
func TestNamespaceHeader(t *testing.T) {
	t.Parallel()
	m := start(t, new(asked).registry())
	for path, want := range map[string]string{
		"/v2/alpine/manifests/3?ns=Docker.IO": "Docker.IO",
		"/v2/alpine/manifests/3":              "",
		"/v2/?ns=ghcr.io":                     "ghcr.io",
		"/ghcr.io/v2/":                        "",
	} {
		m.do(http.MethodHead, path).wantHeader(t, "OCI-Namespace", want)
	}
}

// A listener that is bound to an upstream serves that one only.
func TestBoundListener(t *testing.T) {
	t.Parallel()
	var a asked
	bound := New(Options{Registry: a.registry(), Routes: routes, Upstream: "ghcr.io"})
	for url, want := range map[string]string{
		"/v2/a/b/manifests/3":                 "manifest ghcr.io/a/b:3",
		"/v2/x.example/b/manifests/3":         "manifest ghcr.io/x.example/b:3",
		"/ghcr.io/v2/a/b/manifests/3":         "manifest ghcr.io/a/b:3",
		"/v2/a/b/manifests/3?ns=docker.io":    "",
		"/docker.io/v2/a/b/manifests/3":       "",
		"/v2/my.registry:5000/a/manifests/3":  "",
		"/v2/a/b/manifests/3?ns=unknown.host": "",
	} {
		a.what = ""
		r := httptest.NewRecorder()
		bound.ServeHTTP(r, httptest.NewRequest(http.MethodHead, url, nil))
		if a.what != want || (r.Code == http.StatusOK) != (want != "") {
			t.Errorf("%s: status %d, asked for %q; want %q", url, r.Code, a.what, want)
		}
	}
}
