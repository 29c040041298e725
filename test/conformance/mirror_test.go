package conformance

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mirrord/internal/hubsim"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	name    = "registry.example" // of the upstream
	repo    = "team/app"
	maxSize = 64 << 20 // of the cache
)

// mirror is the whole mirror behind a real server.
type mirror struct {
	t      *testing.T
	url    string
	client *http.Client
}

// newHub starts a simulated registry, and a mirror of it.
func newHub(t *testing.T) (*hubsim.Hub, *mirror) {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{})
	check(t, err)
	t.Cleanup(hub.Close)
	return hub, newMirror(t, hub.URL())
}

// newMirror starts a mirror of the registry at that URL.
func newMirror(t *testing.T, registry string) *mirror {
	t.Helper()
	u, err := url.Parse(registry)
	check(t, err)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: u})
	t.Cleanup(transport.CloseIdleConnections)
	up := mirrortest.Upstream(t, name, registry, transport, 0)
	running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, up))
	server := httptest.NewServer(proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: name})}))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	return &mirror{t: t, url: server.URL + "/v2/" + repo + "/", client: client}
}

// response is a response whose body has been read.
type response struct {
	*http.Response
	body []byte
}

func (m *mirror) do(method, path string) response {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.url+path, nil)
	check(m.t, err)
	resp, err := m.client.Do(req)
	check(m.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	check(m.t, err)
	return response{resp, body}
}

// get sends HEAD, GET and HEAD: cold, cold and warm if the path was not requested
// before. The responses must have the same status and header, but for where they came
// from.
func (m *mirror) get(path string) response {
	m.t.Helper()
	before, got, after := m.do(http.MethodHead, path), m.do(http.MethodGet, path), m.do(http.MethodHead, path)
	for _, head := range []response{before, after} {
		if head.StatusCode != got.StatusCode || len(head.body) > 0 {
			m.t.Errorf("HEAD %s: %s with %d bytes; GET: %s", path, head.Status, len(head.body), got.Status)
		}
		if diff := cmp.Diff(lasting(got.Header), lasting(head.Header)); diff != "" {
			m.t.Errorf("%s (-GET +HEAD):\n%s", path, diff)
		}
	}
	if got.ContentLength != int64(len(got.body)) {
		m.t.Errorf("%s: length %d of %d", path, got.ContentLength, len(got.body))
	}
	return got
}

// lasting returns a header without what differs between two requests.
func lasting(header http.Header) http.Header {
	header = maps.Clone(header)
	maps.DeleteFunc(header, func(name string, _ []string) bool {
		return slices.Contains([]string{"Date", "X-Mirrord-Cache", "Cache-Status"}, name)
	})
	return header
}

// want gets path, which must be content with this type and digest.
func (m *mirror) want(path string, content []byte, mediaType, digest string) {
	m.t.Helper()
	r := m.get(path)
	type description struct{ status, mediaType, digest, body string }
	got := description{r.Status, r.Header.Get("Content-Type"), r.Header.Get("Docker-Content-Digest"), string(r.body)}
	want := description{"200 OK", mediaType, digest, string(content)}
	if got != want {
		got.body, want.body = clip(got.body), clip(want.body)
		m.t.Errorf("%s: %+v, want %+v", path, got, want)
	}
}

func clip(s string) string { return s[:min(len(s), 300)] }

// wantError gets path, which must be an error in the JSON of the spec.
func (m *mirror) wantError(path string, status int, code string) {
	m.t.Helper()
	r := m.get(path)
	var spec struct{ Errors []struct{ Code string } }
	err := json.Unmarshal(r.body, &spec)
	if err != nil || r.StatusCode != status || len(spec.Errors) != 1 || spec.Errors[0].Code != code || r.Header.Get("Content-Type") != "application/json" {
		m.t.Errorf("%s: %s, %s; want %d %s", path, r.Status, clip(string(r.body)), status, code)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
