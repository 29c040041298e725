package security

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mirrord/internal/oci"
)

const (
	registry   = "https://registry.example"
	indexType  = "application/vnd.oci.image.index.v1+json"
	imageType  = "application/vnd.oci.image.manifest.v1+json"
	repository = "team/app"
)

// elsewhere are addresses to which a public upstream may not lead the mirror: those of
// this machine have the port of a trap. They may be behind a proxy, which the mirror
// does not know, so only addresses are among them.
func elsewhere(port string) []string {
	return []string{
		"https://127.0.0.1:" + port + "/x", "https://127.0.0.1.:" + port + "/x", "https://127.8.8.8:" + port + "/x", "https://[::1]:" + port + "/x",
		"https://[::ffff:127.0.0.1]:" + port + "/x", "https://[::ffff:7f00:1]:" + port + "/x", "https://[0:0:0:0:0:ffff:127.0.0.1]:" + port + "/x",
		"https://0.0.0.0:" + port + "/x", "https://[::]:" + port + "/x", "https://[::1%25lo]:" + port + "/x",
		"https://127.1:" + port + "/x", "https://2130706433:" + port + "/x", "https://0x7f000001:" + port + "/x", "https://0x7f.1:" + port + "/x",
		"https://017700000001:" + port + "/x", "https://0177.0.0.01:" + port + "/x", "https://0:" + port + "/x",
		"https://１２７.0.0.1:" + port + "/x", "https://127。0。0。1:" + port + "/x", "https://%EF%BC%91%EF%BC%92%EF%BC%97.0.0.1:" + port + "/x",
		"https://[64:ff9b::127.0.0.1]:" + port + "/x", "https://registry.example@127.0.0.1:" + port + "/x",
		"https://registry.example:443@127.0.0.1:" + port + "/x", "//127.0.0.1:" + port + "/x", "https://user:secret@[::1]:" + port + "/x",
		"https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/latest/meta-data/", "https://[fe80::1%25lo]:" + port + "/x",
		"https://[::ffff:169.254.169.254]/latest/meta-data/", "https://168.63.129.16/machine", "https://100.100.100.200/latest",
		"https://10.0.0.1/x", "https://172.16.0.1/x", "https://192.168.0.1:8443/x", "https://100.64.0.1/x", "https://[fd00::1]/x",
		"https://224.0.0.1/x", "https://255.255.255.255/x",
		"http://registry.example/x", "http://cdn.example.net/x", "http://127.0.0.1:" + port + "/x", "HTTP://cdn.example.net/x",
		"file:///etc/passwd", "ftp://127.0.0.1:" + port + "/x", "gopher://127.0.0.1:" + port + "/x", "unix:///run/docker.sock", "https:///x",
		"data:text/plain,x", "javascript:x", "https://", "https://[::1", "https://127.0.0.1:99999/x", "https:127.0.0.1:" + port,
	}
}

// byName are names that lead inside, which the mirror learns when it dials.
func byName(port string) []string {
	urls := []string{"https://localhost:" + port + "/x", "https://LOCALHOST.:" + port + "/x", "https://metadata.google.internal/computeMetadata/v1/"}
	for name := range inside {
		urls = append(urls, "https://"+name+":"+port+"/x")
	}
	return urls
}

// leading is a registry without a login that redirects everything to one address.
func leading(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// requests are one of each kind, for content that nobody has.
func requests() map[string]string {
	_, d := content("elsewhere")
	return map[string]string{
		"blob": "/v2/" + repository + "/blobs/" + d.String(), "manifest": "/v2/" + repository + "/manifests/" + d.String(), "tag": "/v2/" + repository + "/manifests/latest",
		"tags": "/v2/" + repository + "/tags/list", "referrers": "/v2/" + repository + "/referrers/" + d.String(),
	}
}

// oneRequest is enough where all kinds take the same way.
func oneRequest() map[string]string { return map[string]string{"blob": requests()["blob"]} }

// wantRefused sends requests, and fails when one succeeds or goes anywhere else than to
// the allowed hosts.
func wantRefused(t *testing.T, requests map[string]string, mirror http.Handler, i *internet, trap *trap, allowed ...string) {
	t.Helper()
	for kind, path := range requests {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if w := get(t, mirror, method, path); w.Code < 400 {
				t.Errorf("%s %s: status %d", method, kind, w.Code)
			}
		}
	}
	if hosts := i.strangers(allowed...); len(hosts) > 0 {
		t.Errorf("it has visited %q", hosts)
	}
	select {
	case at := <-trap.hits:
		t.Errorf("it has connected to %s", at)
	default:
	}
}

// A redirect of a public registry leads neither to this machine nor into its network,
// nor to another scheme; behind a proxy, too.
func TestRedirectsLeadNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	for _, to := range append(elsewhere(trap.port), byName(trap.port)...) {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			i := newInternet(t)
			i.serve(registry, leading(to))
			wantRefused(t, requests(), handlerOf(t, upstreamOf(t, i, "registry.example", registry, "registry.example")), i, trap, registry)
		})
	}
	for _, to := range elsewhere(trap.port) {
		t.Run("by proxy "+to, func(t *testing.T) {
			t.Parallel()
			i := newInternet(t)
			i.serve(registry, leading(to))
			wantRefused(t, requests(), handlerOf(t, upstreamOf(t, i, "registry.example", registry)), i, trap, registry)
		})
	}
}

// A registry on this machine or in its network leads into that network, but to no
// metadata service, and to no address that stands for any.
func TestRedirectsOfPrivateRegistries(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	for _, to := range []string{
		"http://0.0.0.0:" + trap.port + "/x", "http://[::]:" + trap.port + "/x", "http://[::ffff:0.0.0.0]:" + trap.port + "/x",
		"http://unspecified.evil.example:" + trap.port + "/x", "http://0:" + trap.port + "/x",
		"http://169.254.169.254/latest/meta-data/", "http://metadata.evil.example/", "http://metadata6.evil.example/", "http://[::ffff:a9fe:a9fe]/",
	} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			address := serveLocal(t, leading(to))
			i := newInternet(t)
			wantRefused(t, requests(), handlerOf(t, upstreamOf(t, i, "corp", address, "nothing")), i, trap)
		})
	}
}

// A redirect that never ends is given up after ten hops, for each try.
func TestRedirectLoops(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(r *http.Request) string{
		"to itself": func(r *http.Request) string { return r.URL.Path },
		"there and back": func(r *http.Request) string {
			return map[bool]string{true: "https://cdn.example.net/x", false: registry + "/x"}[r.Host == "registry.example"]
		},
		"ever longer": func(r *http.Request) string { return r.URL.Path + "/" + strings.Repeat("x", 1000) },
	} {
		i := newInternet(t)
		redirect := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				http.Redirect(w, r, next(r), http.StatusFound)
			}
		}
		i.serve(registry, redirect)
		i.serve("https://cdn.example.net", redirect)
		mirror := handlerOf(t, upstreamOf(t, i, "registry.example", registry))
		begun := time.Now()
		w := get(t, mirror, http.MethodGet, requests()["blob"])
		if n := len(i.all()); w.Code != http.StatusNotFound || n > 2*11+2 || time.Since(begun) > 10*time.Second {
			t.Errorf("%s: status %d after %d requests, %s", name, w.Code, n, time.Since(begun))
		}
	}
}

// An ns, a path, a component and a Host lead to no upstream that is not configured.
func TestNamesLeadNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	i := newInternet(t)
	mirror := handlerOf(t, upstreamOf(t, i, "registry.example", registry))
	for _, name := range []string{
		"169.254.169.254", "localhost:" + trap.port, "127.0.0.1:" + trap.port, "[::1]:" + trap.port, "metadata.google.internal", "registry.example@127.0.0.1:" + trap.port,
		"registry.example.evil.example", "registry.example:" + trap.port, "registry.example.", "registry.example%00", "registry.example%20", "https://127.0.0.1:" + trap.port,
		"..", "%2e%2e", "registry.example%2f..%2f127.0.0.1:" + trap.port, "registry.example%23", "registry.example%3f", "xn--80ak6aa92e.com",
	} {
		for _, target := range []string{
			"/v2/team/app/manifests/latest?ns=" + name, "/v2/team/app/tags/list?ns=registry.example&ns=" + name,
			"/" + name + "/v2/team/app/manifests/latest", "/v2/" + name + "/team/app/manifests/latest", "/v2/" + name + "/manifests/latest",
		} {
			if w := get(t, mirror, http.MethodGet, target); w.Code != http.StatusNotFound && w.Code != http.StatusBadRequest {
				t.Errorf("%s: status %d", target, w.Code)
			}
		}
	}
	if n := len(i.all()); n > 0 || len(trap.hits) > 0 {
		t.Errorf("%d requests, %d connections", n, len(trap.hits))
	}
}

// The Link of a list names the next page of that list at that registry, whatever host and
// path it has.
func TestLinksLeadNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	_, d := content("subject")
	for _, to := range []string{
		"https://evil.example/v2/team/app/tags/list?last=b", "http://registry.example/v2/team/app/tags/list?last=b", "//evil.example/x?last=b",
		"https://127.0.0.1:" + trap.port + "/x?last=b", "/admin/../delete?last=b", "file:///etc/passwd?last=b", "https://user:secret@registry.example/x?last=b", "?last=b",
	} {
		i := newInternet(t)
		i.serve(registry, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+to+`>; rel="next"`)
			w.Header().Set("Content-Type", indexType)
			_, _ = fmt.Fprint(w, `{"name":"team/app","tags":["a"],"manifests":[]}`)
		})
		mirror := handlerOf(t, upstreamOf(t, i, "registry.example", registry))
		for _, path := range []string{"/v2/team/app/tags/list", "/v2/team/app/referrers/" + d.String()} {
			first := get(t, mirror, http.MethodGet, path)
			if want := "<" + path + `?last=b>; rel="next"`; first.Header().Get("Link") != want {
				t.Errorf("%s: Link %q, want %q", to, first.Header().Get("Link"), want)
			}
			get(t, mirror, http.MethodGet, path+"?last=b")
		}
		for _, v := range i.all() {
			if path, _, _ := strings.Cut(v.uri, "?"); v.host != registry || path != "/v2/" && !strings.HasPrefix(path, "/v2/team/app/") {
				t.Errorf("%s: it has visited %s%s", to, v.host, v.uri)
			}
		}
	}
	if len(trap.hits) > 0 {
		t.Error("it has connected to this machine")
	}
}

// The urls of a foreign layer are for the client: the mirror asks the registry.
func TestForeignLayersLeadNowhereElse(t *testing.T) {
	t.Parallel()
	trap := newTrap(t)
	i := newInternet(t)
	layer, d := content("foreign")
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"x/y","digest":%q,"size":2,"urls":["https://evil.example/c"]},"layers":[{"mediaType":`+
		`"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":%q,"size":%d,"urls":["https://127.0.0.1:%s/l","https://evil.example/l","file:///etc/passwd"]}]}`,
		imageType, oci.FromBytes([]byte("{}")), d, len(layer), trap.port)
	i.serve(registry, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/":
		case "/v2/team/app/manifests/latest":
			w.Header().Set("Content-Type", imageType)
			_, _ = fmt.Fprint(w, manifest)
		default:
			http.NotFound(w, r)
		}
	})
	mirror := handlerOf(t, upstreamOf(t, i, "registry.example", registry))
	if w := get(t, mirror, http.MethodGet, "/v2/team/app/manifests/latest"); w.Body.String() != manifest {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if w := get(t, mirror, http.MethodGet, "/v2/team/app/blobs/"+d.String()); w.Code != http.StatusNotFound {
		t.Errorf("the layer: status %d", w.Code)
	}
	if hosts := i.strangers(registry); len(hosts) > 0 || len(trap.hits) > 0 {
		t.Errorf("it has visited %q, and this machine %d times", hosts, len(trap.hits))
	}
}
