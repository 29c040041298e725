package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/goleak"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	repo      = "library/test"
	imageType = "application/vnd.oci.image.manifest.v1+json"
	indexType = "application/vnd.oci.image.index.v1+json"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startHub(t *testing.T, o hubsim.Options) *hubsim.Hub {
	t.Helper()
	h, err := hubsim.Start(o)
	check(t, err)
	t.Cleanup(h.Close)
	return h
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// client is a Registry under test and what it has sent.
type client struct {
	*Registry
	sent    *recorder
	secrets []string
}

// connect makes a Registry on a transport of its own, with the login that is
// given as user and password.
func connect(t *testing.T, address string, login ...string) *client {
	t.Helper()
	u, err := url.Parse(address)
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	t.Cleanup(transport.CloseIdleConnections)
	return connectBy(t, u, transport, login...)
}

func connectBy(t *testing.T, u *url.URL, transport http.RoundTripper, login ...string) *client {
	t.Helper()
	c := &client{sent: &recorder{next: transport}}
	o := Options{Name: oci.DockerHub, URL: u, Auth: authn.Anonymous, Transport: ratelimit.New(oci.DockerHub, "login", c.sent)}
	if len(login) == 2 {
		o.Auth = authn.FromConfig(authn.AuthConfig{Username: login[0], Password: login[1]})
		c.secrets = append(c.secrets, login[1])
	}
	c.Registry = New(o)
	return c
}

// recorder keeps what was sent.
type recorder struct {
	next http.RoundTripper

	mu       sync.Mutex // guards requests
	requests []*http.Request
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.requests = append(r.requests, req.Clone(context.WithoutCancel(req.Context())))
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

func (r *recorder) all() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// wantCode checks the code of an error, and that its words tell no secret: not
// those of any request sent so far.
func (c *client) wantCode(t *testing.T, err error, code oci.Code) {
	t.Helper()
	if err == nil || oci.CodeOf(err) != code {
		t.Errorf("error %v, want code %s", err, code)
	}
	if err == nil {
		return
	}
	secrets := slices.Clone(c.secrets)
	for _, req := range c.sent.all() {
		_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
		secrets = append(secrets, token)
		if req.URL.Host != c.opts.URL.Host {
			secrets = append(secrets, req.URL.RawQuery)
			for _, values := range req.URL.Query() {
				secrets = append(secrets, values...)
			}
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		known, ok := e.(*oci.Error)
		if !ok {
			continue
		}
		for _, secret := range secrets {
			if secret != "" && strings.Contains(known.Message, secret) {
				t.Errorf("error %q tells the secret %q", known.Message, secret)
			}
		}
	}
}

func manifestRef(t *testing.T, reference string) oci.Ref {
	t.Helper()
	ref, err := oci.ParseManifest(oci.DockerHub, repo, reference)
	check(t, err)
	return ref
}

func blobRef(t *testing.T, d oci.Digest) oci.Ref {
	t.Helper()
	ref, err := oci.ParseBlob(oci.DockerHub, repo, d.String())
	check(t, err)
	return ref
}

func read(t *testing.T, r oci.Registry, ref oci.Ref) ([]byte, error) {
	t.Helper()
	raw, _, err := ocitest.Read(t.Context(), r, ref)
	return raw, err
}

// wantBlob reads a blob whole.
func wantBlob(t *testing.T, r oci.Registry, d oci.Digest, size int) {
	t.Helper()
	raw, answer, err := ocitest.Read(t.Context(), r, blobRef(t, d))
	if err != nil || len(raw) != size || oci.FromBytes(raw) != d || answer.Via != oci.Pass {
		t.Errorf("%d bytes of %s, via %q, %v; want %d of %s", len(raw), oci.FromBytes(raw), answer.Via, err, size, d)
	}
}

// answer is a handler that says the same always.
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// version is the header that only registries send.
var version = []string{"Docker-Distribution-Api-Version", "registry/2.0"}

// openly is a registry that needs no token: handle is asked all but the ping.
func openly(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			handle(w, r)
		}
	}
}

// challenging is a registry that names a token service and takes any token.
func challenging(realm func() string, handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm()))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handle(w, r)
	}
}
