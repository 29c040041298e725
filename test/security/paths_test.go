package security

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/test/mirrortest"
)

// absent is an upstream that has nothing, and notes what it is asked.
type absent struct {
	mu   sync.Mutex // guards uris
	uris []string
}

func (a *absent) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.uris = append(a.uris, r.URL.String())
	a.mu.Unlock()
	status, body := http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"absent"}]}`
	if r.URL.Path == "/v2/" {
		status, body = http.StatusOK, "{}"
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Docker-Distribution-Api-Version": {"registry/2.0"}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// taken returns what was asked since the last call.
func (a *absent) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.uris
	a.uris = nil
	return all
}

// allowedURI is what an upstream may be asked: names, tags and digests as the
// distribution spec has them, and nothing that is escaped but a query.
var allowedURI = regexp.MustCompile(`^https://(hub|ghcr)\.example/v2/(` +
	`[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*/` +
	`(manifests/([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|sha(256|512):[a-f0-9]{64,128})|blobs/sha(256|512):[a-f0-9]{64,128}|` +
	`tags/list(\?[^#\s]*)?|referrers/sha(256|512):[a-f0-9]{64,128}(\?[^#\s]*)?))?$`)

// shapes are the ways to name an upstream: %u is its name and %p what follows.
var shapes = []string{"/v2/%p", "/v2/%p?ns=%u", "/v2/%p?ns=%u&ns=%u", "/v2/%p?ns=%u&ns=", "/v2/%p?ns=", "/v2/%p?NS=%u", "/%u/v2/%p", "/v2/%u/%p", "/%u/v2/%u/%p?ns=%u", "http://%u/v2/%p"}

// pieces are put where a name, a reference and a whole path belong.
var pieces = []string{
	"", "a", ".", "..", "...", "%2e", "%2e%2e", "%252e%252e", "..%2f..%2f", "..%5c..%5c", `..\..\`, "a/../b", "a/./b", "a//b", "/", "//", "a/", "/a",
	"%00", "a%00b", "%0d%0aX:y", "%0a", "%20", "+", "%", "%zz", "%2", "%25", "%2500", "%c0%ae%c0%ae", "%ff", "é", "ａ", "%EF%BC%8E%EF%BC%8E", "\u202e", "A", "_", "-", "a_", "a__b", "a___b",
	"sha256:x", "sha256%3A", "@sha256:x", "a@b", "a:b", "~", "*", "?", "#", ";", "&", "=", "a;b", "$(id)", "`id`", "${x}", "<b>", "\"", "'", "|", "{}", "[::1]", "con", "aux.txt",
	"manifests", "blobs/uploads", "tags/list", "_catalog", "v2", "etc/passwd", "proc/self/environ",
	strings.Repeat("a", 255), strings.Repeat("a", 5000), strings.Repeat("a/", 500), strings.Repeat("../", 200), strings.Repeat("%2e%2e%2f", 200), strings.Repeat("%25", 500) + "2e",
}

// maze is a mirror whose paths are tried.
type maze struct {
	dir       string // that has the directory of the cache, and nothing else
	mirror    http.Handler
	upstreams *absent
	failed    error // of the last request
}

func newMaze(t testing.TB) *maze {
	t.Helper()
	m := &maze{dir: t.TempDir(), upstreams: new(absent)}
	o := mirrortest.Options(t, filepath.Join(m.dir, "cache"), maxSize,
		mirrortest.Upstream(t, oci.DockerHub, "https://hub.example", m.upstreams, 0), mirrortest.Upstream(t, "ghcr.io", "https://ghcr.example", m.upstreams, 0))
	running, _ := mirrortest.Run(t, o)
	table := route.NewTable(route.Upstream{Name: oci.DockerHub}, route.Upstream{Name: "ghcr.io", Aliases: []string{"corp"}, Hosts: []string{"corp.example"}}).WithForeign("quay.io")
	m.mirror = proxy.New(proxy.Options{Registry: running.Tags, Routes: table, Observe: func(_ *http.Request, e proxy.Event) {
		if e.Status >= http.StatusInternalServerError || e.Cut {
			m.failed = fmt.Errorf("status %d, cut %v: %w", e.Status, e.Cut, e.Err)
		}
	}})
	return m
}

// try asks for a target: no panic, no 500, nothing outside of the cache, and nothing at
// an upstream that is not in the grammar.
func (m *maze) try(t *testing.T, target, host string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil {
			return
		}
		m.failed = nil
		m.mirror.ServeHTTP(httptest.NewRecorder(), r.WithContext(t.Context()))
		if m.failed != nil {
			t.Errorf("%s %q at %q: %v", method, target, host, m.failed)
		}
		for _, uri := range m.upstreams.taken() {
			if !allowedURI.MatchString(uri) {
				t.Errorf("%s %q at %q: an upstream was asked for %q", method, target, host, uri)
			}
		}
	}
	if entries, err := os.ReadDir(m.dir); err != nil || len(entries) != 1 {
		t.Errorf("%q: %d entries beside the cache, %v", target, len(entries), err)
	}
}

// pathsOf are the paths that have piece in one place.
func pathsOf(piece string) []string {
	_, d := content("paths")
	return []string{piece + "/manifests/latest", "team/app/manifests/" + piece, "team/app/blobs/" + piece, piece + "/tags/list", piece + "/referrers/" + d.String(), piece}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	m := newMaze(t)
	for _, shape := range shapes {
		for _, piece := range pieces {
			for _, upstream := range []string{"corp", piece} {
				for _, path := range pathsOf(piece) {
					m.try(t, strings.NewReplacer("%u", upstream, "%p", path).Replace(shape), "mirror.lan")
				}
			}
		}
	}
	for _, host := range append(pieces, "docker.io", "ghcr.io:443", "quay.io", "corp.example.", "[::1]:5000") {
		m.try(t, "/v2/team/app/manifests/latest", host)
	}
}

func FuzzPaths(f *testing.F) {
	for i, piece := range pieces {
		path := pathsOf(piece)[i%6]
		f.Add(strings.NewReplacer("%u", "ghcr.io", "%p", path).Replace(shapes[i%len(shapes)]), "mirror.lan")
	}
	m := newMaze(f)
	f.Fuzz(func(t *testing.T, target, host string) { m.try(t, target, host) })
}
