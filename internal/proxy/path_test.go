package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// Only valid names, tags and digests reach the Registry.
func TestInvalidPaths(t *testing.T) {
	t.Parallel()
	m := start(t, failing(nil)) // returning nil content would panic
	hex := strings.Repeat("a", 64)
	for path, code := range map[string]oci.Code{
		"/v2/Alpine/manifests/3":                            oci.NameInvalid,
		"/v2/a..b/manifests/3":                              oci.NameInvalid,
		"/v2/../etc/manifests/3":                            oci.NameInvalid,
		"/v2/a/../b/manifests/3":                            oci.NameInvalid,
		"/v2/./a/manifests/3":                               oci.NameInvalid,
		"/v2/a//b/manifests/3":                              oci.NameInvalid,
		"/v2//a/manifests/3":                                oci.NameInvalid,
		"/v2/a/b//manifests/3":                              oci.NameInvalid,
		"/v2/a%2Fb/manifests/3":                             oci.NameInvalid,
		"/v2/%2e%2e/a/manifests/3":                          oci.NameInvalid,
		"/v2/a%00/manifests/3":                              oci.NameInvalid,
		"/v2/a%ff/manifests/3":                              oci.NameInvalid,
		"/v2/a\xff/manifests/3":                             oci.NameInvalid,
		"/v2/" + strings.Repeat("a", 256) + "/manifests/3":  oci.NameInvalid,
		"/v2/" + strings.Repeat("a/", 9000) + "b/tags/list": oci.NameInvalid,
		"/v2//tags/list":                                    oci.NameInvalid,
		"/v2/a/manifests/":                                  oci.ManifestUnknown,
		"/v2/a/manifests/..":                                oci.ManifestUnknown,
		"/v2/a/manifests/a%2Fb":                             oci.ManifestUnknown,
		"/v2/a/manifests/%2e%2e%2fx":                        oci.ManifestUnknown,
		"/v2/a/manifests/a%00":                              oci.ManifestUnknown,
		"/v2/a/manifests/%ff":                               oci.ManifestUnknown,
		"/v2/a/manifests/-a":                                oci.ManifestUnknown,
		"/v2/a/manifests/" + strings.Repeat("a", 129):       oci.ManifestUnknown,
		"/v2/a/manifests/sha256:baddigeststring":            oci.DigestInvalid,
		"/v2/a/manifests/sha256:" + hex + "a":               oci.DigestInvalid,
		"/v2/a/manifests/md5:" + hex[:32]:                   oci.DigestInvalid,
		"/v2/a/blobs/latest":                                oci.DigestInvalid,
		"/v2/a/blobs/sha256:" + strings.ToUpper(hex):        oci.DigestInvalid,
		"/v2/a/blobs/sha256:" + hex[:62] + "..":             oci.DigestInvalid,
		"/v2/a/referrers/latest":                            oci.DigestInvalid,
	} {
		status := http.StatusNotFound
		if code == oci.DigestInvalid {
			status = http.StatusBadRequest
		}
		m.raw(path).wantError(t, status, code)
		e := <-m.events
		if e.Repository != "" || e.Reference != "" || e.Err == nil {
			t.Errorf("%.80s: observed %+v", path, e)
		}
	}
}

func TestUnusualPaths(t *testing.T) {
	t.Parallel()
	sha512 := "sha512:" + strings.Repeat("a", 128)
	for path, want := range map[string]string{
		"/v2/manifests/manifests/blobs":          "docker.io/library/manifests:blobs",
		"/v2/tags/list/manifests/list":           "docker.io/tags/list:list",
		"/v2/blobs/tags/blobs/" + sha512:         "docker.io/blobs/tags@" + sha512,
		"/v2/a/manifests/sha512%3a" + sha512[7:]: "docker.io/library/a@" + sha512,
		"/v2/a/manifests/sha256-abc.sig":         "docker.io/library/a:sha256-abc.sig",
		"/v2/ghcr.io/a/manifests/3":              "ghcr.io/a:3",
		"/ghcr.io/v2/a/b/manifests/3":            "ghcr.io/a/b:3",
	} {
		u, err := url.ParseRequestURI(path)
		check(t, err)
		parsed, err := parsePath(u)
		check(t, err)
		to, err := parsed.route(routes, route.Request{})
		check(t, err)
		ref, err := parsed.ref(to)
		if err != nil || ref.String() != want {
			t.Errorf("%s: %s, %v; want %s", path, ref, err, want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, path := range []string{
		"/v2/", "/v2/a/manifests/3", "/v2/a/b/blobs/" + imageRef, "/v2/a/tags/list?n=1&ns=x", "/v2/a/referrers/" + imageRef,
		"/v2/a/manifests/sha256%3Aabc", "/ghcr.io/v2/a/manifests/3", "/v2/ghcr.io/a/tags/list", "/v2/my.registry%3A5000/a/manifests/3",
		"/corp/v2/corp/a/manifests/3?ns=my.registry:5000", "/v2/x.example/a/manifests/3?ns=ghcr.io", "/v2/%2e%2e/manifests/%00", "//v2//", "/v2/a/../manifests/x", "/v2/tags/list/tags/list",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		parsed, err := parsePath(u)
		_, _, _ = parsed.operation(http.MethodGet), parsed.kindName(), parsed.operation(http.MethodPut)
		if err != nil {
			return
		}
		to, err := parsed.route(routes, route.Request{})
		if err != nil {
			return
		}
		_, _ = parsed.listing(to)
		if parsed.endpoint != manifests && parsed.endpoint != blobs {
			return
		}
		ref, err := parsed.ref(to)
		if err != nil {
			return
		}
		u = &url.URL{Path: "/v2/" + ref.Upstream() + "/" + ref.Repository() + "/" + ref.Kind().String() + "s/" + ref.Reference()}
		again, err := parsePath(u)
		check(t, err)
		to, err = again.route(routes, route.Request{})
		check(t, err)
		same, err := again.ref(to)
		if err != nil || same != ref || same.String() != ref.String() {
			t.Errorf("%q is %s, which is %s, %v", path, ref, same, err)
		}
	})
}
