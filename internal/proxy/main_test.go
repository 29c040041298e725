package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const imageType = "application/vnd.oci.image.manifest.v1+json"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mirror is a Handler behind a real server.
type mirror struct {
	t      *testing.T
	server *httptest.Server
	client *http.Client
	events chan Event
}

// routes are the upstreams of the mirror in the tests.
var routes = route.NewTable(
	route.Upstream{Name: oci.DockerHub, Aliases: []string{"index.docker.io", "registry-1.docker.io"}, Hosts: []string{"hub.mirror.example"}},
	route.Upstream{Name: "ghcr.io", Hosts: []string{"ghcr.mirror.example"}},
	route.Upstream{Name: "my.registry:5000", Aliases: []string{"corp"}, Hosts: []string{"corp.mirror.example"}},
)

func start(t *testing.T, registry oci.Registry) *mirror {
	t.Helper()
	m := &mirror{t: t, events: make(chan Event, 1000)}
	handler := New(Options{
		Registry: registry,
		Routes:   routes,
		Observe:  func(_ *http.Request, e Event) { m.events <- e },
	})
	m.server = httptest.NewUnstartedServer(handler)
	m.server.Config.MaxHeaderBytes = 64 << 10
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	m.server.Start()
	t.Cleanup(m.server.Close)
	m.client = &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return m
}

// reply is a response whose body has been read; err is the error of the body.
type reply struct {
	*http.Response
	body []byte
	err  error
}

func (m *mirror) do(method, path string, header ...string) reply {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.server.URL+path, nil)
	check(m.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := m.client.Do(req)
	check(m.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}
}

// raw sends a request line that no client library would send.
func (m *mirror) raw(target string) reply {
	m.t.Helper()
	conn, err := net.Dial("tcp", m.server.Listener.Addr().String())
	check(m.t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n", target)
	check(m.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(m.t, err)
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}
}

func (r reply) want(t *testing.T, status int, body string) reply {
	t.Helper()
	if r.StatusCode != status || string(r.body) != body || r.err != nil {
		t.Errorf("status %d, %d bytes %.200q, %v; want %d, %d bytes", r.StatusCode, len(r.body), r.body, r.err, status, len(body))
	}
	return r
}

func (r reply) wantHeader(t *testing.T, pairs ...string) reply {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := strings.Join(r.Header.Values(pairs[i]), "|"); got != pairs[i+1] {
			t.Errorf("%s: %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
	return r
}

type wireErrors struct {
	Errors []struct {
		Code, Message string
		Detail        any
	}
}

// wantError checks the error in the JSON format of the spec.
func (r reply) wantError(t *testing.T, status int, code oci.Code) reply {
	t.Helper()
	var body wireErrors
	err := json.Unmarshal(r.body, &body)
	if r.StatusCode != status || err != nil || len(body.Errors) != 1 || body.Errors[0].Code != string(code) || body.Errors[0].Message == "" {
		t.Errorf("status %d, body %.300q; want %d, %s", r.StatusCode, r.body, status, code)
	}
	r.wantHeader(t, "Content-Type", "application/json", "Content-Length", fmt.Sprint(len(r.body)), "Www-Authenticate", "",
		"Docker-Distribution-Api-Version", "registry/2.0")
	return r
}

// scripted is a Registry whose methods the test provides.
type scripted struct {
	resolve func(context.Context, oci.Ref) (oci.Result, error)
	open    func(context.Context, oci.Ref) (*oci.Content, error)
	list    func(context.Context, oci.Listing) (*oci.Page, error)
}

func (s scripted) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	return s.resolve(ctx, ref)
}
func (s scripted) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return s.open(ctx, ref)
}
func (s scripted) List(ctx context.Context, q oci.Listing) (*oci.Page, error) { return s.list(ctx, q) }

// failing is a Registry whose methods all return err.
func failing(err error) scripted {
	return scripted{
		resolve: func(context.Context, oci.Ref) (oci.Result, error) { return oci.Result{}, err },
		open:    func(context.Context, oci.Ref) (*oci.Content, error) { return nil, err },
		list:    func(context.Context, oci.Listing) (*oci.Page, error) { return nil, err },
	}
}

// giving is a Registry that opens every reference as body with the Result a.
func giving(body io.ReadCloser, a oci.Result) scripted {
	return scripted{
		open:    func(context.Context, oci.Ref) (*oci.Content, error) { return &oci.Content{Result: a, Body: body}, nil },
		resolve: func(context.Context, oci.Ref) (oci.Result, error) { return a, nil },
	}
}

var (
	blob       = ocitest.Content(10_000, 1)
	blobDigest = oci.FromBytes(blob).String()
	blobPath   = "/v2/library/alpine/blobs/" + blobDigest
	image      = `{"schemaVersion":2}`
	imageRef   = oci.FromBytes([]byte(image)).String()
)

func filled() *ocitest.Fake {
	fake := new(ocitest.Fake)
	fake.AddBlob("library/alpine", blob)
	fake.AddManifest("library/alpine", "3", imageType, []byte(image))
	return fake
}
