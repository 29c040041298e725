package sibling_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/sibling"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const boot = "BOOT"

var (
	content = ocitest.Content(100_000, 1)
	digest  = oci.FromBytes(content)
)

// server is a mirror that has content.
type server struct {
	*testing.T
	*httptest.Server
	handler *sibling.Handler
	open    func(ctx context.Context, d oci.Digest) (*oci.Content, error)

	mu      sync.Mutex // guards the rest
	refused []error
}

func secret(t *testing.T, lines ...string) keys.Secret {
	t.Helper()
	s, err := keys.ReadSecret(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const known, other = "the secret that the fleet has", "the secret of another fleet"

func serve(t *testing.T, lines ...string) *server {
	t.Helper()
	s := &server{T: t, open: func(_ context.Context, d oci.Digest) (*oci.Content, error) {
		if d != digest {
			return nil, fs.ErrNotExist
		}
		return of(bytes.NewReader(content)), nil
	}}
	s.handler = sibling.NewHandler(sibling.HandlerOptions{
		Secret: secret(t, lines...), Boot: boot,
		Open: func(ctx context.Context, d oci.Digest) (*oci.Content, error) { return s.open(ctx, d) },
		Refused: func(_ string, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refused = append(s.refused, err)
		},
	})
	s.Server = httptest.NewServer(s.handler)
	t.Cleanup(s.Close)
	return s
}

func of(body io.ReadSeeker) *oci.Content {
	return &oci.Content{Body: struct {
		io.ReadSeeker
		io.Closer
	}{body, io.NopCloser(nil)}}
}

func (s *server) client(secret keys.Secret, transport http.RoundTripper) *sibling.Client {
	c := sibling.NewClient(sibling.ClientOptions{Secret: secret, Node: "b", Transport: transport})
	s.Cleanup(c.Close)
	return c
}

func (s *server) target() sibling.Target {
	return sibling.Target{Addr: s.Listener.Addr().String(), Boot: boot}
}

// read reads what a client gets of d.
func (s *server) read(c *sibling.Client, to sibling.Target, d oci.Digest, from int64) ([]byte, error) {
	stream, err := c.Open(s.Context(), to, d, from)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(stream)
	if stream.Size != int64(len(content)) {
		s.Errorf("a stream of %d bytes", stream.Size)
	}
	return raw, errors.Join(err, stream.Close())
}

func TestRead(t *testing.T) {
	s := serve(t, known)
	c := s.client(secret(t, known), nil)
	for _, from := range []int64{0, 1, 99_999} {
		if got, err := s.read(c, s.target(), digest, from); err != nil || !bytes.Equal(got, content[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if _, err := s.read(c, s.target(), digest, 100_000); err == nil {
		t.Error("a stream from behind the end")
	}
	if _, err := s.read(c, s.target(), oci.FromBytes(nil), 0); !errors.Is(err, sibling.ErrNotHere) {
		t.Errorf("what it does not have: %v", err)
	}
	if n := s.handler.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// TestCut finds that content that fails in the middle does not look whole.
func TestCut(t *testing.T) {
	s := serve(t, known)
	s.open = func(context.Context, oci.Digest) (*oci.Content, error) {
		return of(failing{bytes.NewReader(content)}), nil
	}
	got, err := s.read(s.client(secret(t, known), nil), s.target(), digest, 0)
	if err == nil || len(got) >= len(content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

type failing struct{ *bytes.Reader }

func (f failing) Read(p []byte) (int, error) {
	if f.Len() < 10_000 {
		return 0, errors.New("the upstream broke off")
	}
	return f.Reader.Read(p[:min(len(p), 5000)])
}

func (f failing) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{f}) }

// TestSecrets finds who is answered while a secret is being changed.
func TestSecrets(t *testing.T) {
	for name, test := range map[string]struct {
		serves, asks []string
		answered     bool
	}{
		"the same":            {[]string{known}, []string{known}, true},
		"another":             {[]string{known}, []string{other}, false},
		"the previous one":    {[]string{other, known}, []string{known}, true},
		"it does not yet":     {[]string{known}, []string{other, known}, false},
		"it has it already":   {[]string{known, other}, []string{other, known}, true},
		"it has not any more": {[]string{other}, []string{known}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, test.serves...)
			_, err := s.read(s.client(secret(t, test.asks...), nil), s.target(), digest, 0)
			if (err == nil) != test.answered {
				t.Error(err)
			}
		})
	}
}

// TestAnotherBoot finds that a request for one process is not answered by another one that
// has its address.
func TestAnotherBoot(t *testing.T) {
	s := serve(t, known)
	to := s.target()
	to.Boot = "BEFORE"
	if _, err := s.read(s.client(secret(t, known), nil), to, digest, 0); err == nil {
		t.Error("answered")
	}
	if len(s.refused) != 1 {
		t.Errorf("reported: %v", s.refused)
	}
}

// changing is a transport that changes requests after they are signed.
type changing func(r *http.Request)

func (c changing) RoundTrip(r *http.Request) (*http.Response, error) {
	c(r)
	return http.DefaultTransport.RoundTrip(r)
}

// TestTampered finds that nothing of a signed request can be changed, and that it cannot be
// sent again.
func TestTampered(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := serve(t, known)
	other := sibling.Path + "sha256/" + oci.FromBytes(nil).Encoded()
	for name, change := range map[string]func(r *http.Request){
		"path":      func(r *http.Request) { r.URL.Path = other },
		"method":    func(r *http.Request) { r.Method = http.MethodHead },
		"range":     func(r *http.Request) { r.Header.Set("Range", "bytes=5-") },
		"node":      func(r *http.Request) { replace(r, "node=b", "node=c") },
		"nonce":     func(r *http.Request) { replace(r, "nonce=", "nonce=A") },
		"time":      func(r *http.Request) { replace(r, ",t=", ",t=1") },
		"no mac":    func(r *http.Request) { replace(r, ",mac=", ",cam=") },
		"no scheme": func(r *http.Request) { replace(r, "Mirrord-Fleet ", "Bearer ") },
		"nothing":   func(r *http.Request) { r.Header.Del("Authorization") },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.read(s.client(secret(t, known), changing(change)), s.target(), digest, 0); err == nil {
				t.Error("answered")
			}
		})
	}
	var before string
	again := changing(func(r *http.Request) {
		if before == "" {
			before = r.Header.Get("Authorization")
		}
		r.Header.Set("Authorization", before)
	})
	c := s.client(secret(t, known), again)
	if _, err := s.read(c, s.target(), digest, 0); err != nil {
		t.Error(err)
	}
	if _, err := s.read(c, s.target(), digest, 0); err == nil {
		t.Error("the same request is answered twice")
	}
}

func replace(r *http.Request, before, after string) {
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), before, after, 1))
}

// TestClock finds that mirrors whose clocks differ understand each other, and that nobody
// else can tell one of them the time.
func TestClock(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	s := serve(t, known)
	requests := 0
	c := s.client(secret(t, known), changing(func(*http.Request) { requests++ }))
	c.Skew(s.target().Addr, -time.Hour)
	for range 2 {
		if got, err := s.read(c, s.target(), digest, 0); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if requests != 3 {
		t.Errorf("%d requests, want one more than two", requests)
	}
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Mirrord-Time", "1000000000000 AAAA")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer liar.Close()
	requests = 0
	if _, err := c.Open(t.Context(), sibling.Target{Addr: liar.Listener.Addr().String(), Boot: boot}, digest, 0); err == nil || requests != 1 {
		t.Errorf("%d requests, %v", requests, err)
	}
}

// TestBusy finds that a mirror serves so many streams of one digest and no more, and says so
// when what is in flight has not begun.
func TestBusy(t *testing.T) {
	s := serve(t, known)
	var waiting sync.WaitGroup
	release := make(chan struct{})
	s.open = func(ctx context.Context, _ oci.Digest) (*oci.Content, error) {
		waiting.Done()
		select {
		case <-release:
			return of(bytes.NewReader(content)), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c := s.client(secret(t, known), nil)
	var all sync.WaitGroup
	waiting.Add(8)
	for range 8 {
		all.Go(func() {
			if _, err := s.read(c, s.target(), digest, 0); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	if _, err := s.read(c, s.target(), digest, 0); !errors.Is(err, sibling.ErrBusy) {
		t.Errorf("the ninth: %v", err)
	}
	close(release)
	all.Wait()
	s.open = func(ctx context.Context, _ oci.Digest) (*oci.Content, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := s.read(c, s.target(), digest, 0); !errors.Is(err, sibling.ErrBusy) {
		t.Errorf("not begun: %v", err)
	}
}

// TestHostile finds that a mirror that is none cannot make the client believe anything.
func TestHostile(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"another range": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-99/100")
			w.WriteHeader(http.StatusPartialContent)
		},
		"no size": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.Copy(w, io.LimitReader(bytes.NewReader(content), 5000))
		},
		"all where a range was asked for": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{T: t, Server: httptest.NewServer(answer)}
			defer s.Close()
			if _, err := s.client(secret(t, known), nil).Open(t.Context(), s.target(), digest, 5); err == nil {
				t.Error("believed")
			}
		})
	}
}
