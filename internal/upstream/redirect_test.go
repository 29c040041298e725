package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

func TestWhatTheStorageIsTold(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	told := make(chan http.Header, 9)
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header
		w.Header().Set("Content-Range", "bytes 3-6/7")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("tent"))
	})
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(200, `{"token":"abc"}`)(w, r)
			return
		}
		challenging(func() string { return s.URL + "/token" }, func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
			http.Redirect(w, r, storage.URL+"/blob?sig=1", http.StatusTemporaryRedirect)
		})(w, r)
	})
	c := connect(t, s.URL, "ann", "secret-pass")
	body := c.newBody(t.Context(), blobRef(t, oci.FromBytes([]byte("content"))), 3)
	raw := make([]byte, 4)
	_, err := body.Read(raw)
	check(t, err)
	check(t, body.Close())
	want := http.Header{"Range": {"bytes=3-"}, "User-Agent": {userAgent}, "Accept-Encoding": {"identity"}}
	if diff := cmp.Diff(want, <-told); diff != "" {
		t.Error(diff)
	}
}

func TestRedirectRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		upstream, to string
		ok           bool
	}{
		{"https://registry-1.docker.io", "https://production.cloudfront.docker.com/x?Signature=y", true},
		{"https://registry-1.docker.io", "http://production.cloudfront.docker.com/x", false},
		{"https://registry-1.docker.io", "http://registry-1.docker.io/x", false},
		{"https://registry-1.docker.io", "ftp://registry-1.docker.io/x", false},
		{"http://registry.corp", "http://storage.corp/x", true},
		{"http://registry.corp", "https://storage.corp/x", true},
		{"https://registry-1.docker.io", "https://127.0.0.1/x", false},
		{"https://registry-1.docker.io", "https://169.254.169.254/latest/meta-data", false},
		{"https://registry-1.docker.io", "https://[::1]:5000/x", false},
		{"https://registry-1.docker.io", "https://[::ffff:10.0.0.1]/x", false},
		{"https://registry-1.docker.io", "https://100.64.0.1/x", false},
		{"https://registry-1.docker.io", "https://1.1.1.1/x", true},
		{"https://10.0.0.1", "https://10.0.0.2/x", true},
		{"http://localhost:5000", "http://127.0.0.1:5001/x", true},
	} {
		u, err := url.Parse(test.upstream)
		check(t, err)
		req, err := http.NewRequest(http.MethodGet, test.to, nil)
		check(t, err)
		if err := redirects(u)(req, []*http.Request{{}}); (err == nil) != test.ok {
			t.Errorf("from %s to %s: %v, want ok %v", test.upstream, test.to, err, test.ok)
		}
	}
}

func TestTenRedirectsAndNoMore(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		hop, hops := 0, 10
		if strings.HasSuffix(r.URL.Path, "hops11") {
			hops = 11
		}
		_, _ = fmt.Sscanf(r.URL.RawQuery, "hop=%d", &hop) // the first request has none
		if hop == hops {
			answer(200, "{}", "Content-Type", imageType)(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("%s?hop=%d", r.URL.Path, hop+1), http.StatusFound)
	}))
	c := connect(t, s.URL)
	_, err := read(t, c, manifestRef(t, "hops10"))
	check(t, err)
	asked.Store(0)
	_, err = read(t, c, manifestRef(t, "hops11"))
	c.wantCode(t, err, oci.Unavailable)
	if n := asked.Load(); n != 11 {
		t.Errorf("asked %d times, want 11", n)
	}
}

func TestNoStepDownFromHTTPS(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	plain := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	s := httptest.NewTLSServer(openly(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/blob?sig=0123456789", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	check(t, err)
	transport := NewTransport(u)
	transport.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(transport.CloseIdleConnections)
	c := connectBy(t, u, transport)
	c.secrets = append(c.secrets, "0123456789")
	_, err = read(t, c, blobRef(t, oci.FromBytes(nil)))
	c.wantCode(t, err, oci.Unavailable)
	if asked.Load() != 0 {
		t.Error("the plain address was asked")
	}
}

// A signed link is told nowhere, whatever is wrong with it.
func TestErrorsTellNoSignature(t *testing.T) {
	t.Parallel()
	const secret = "SIGNATURE-SIGNATURE"
	refusing := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<Code>SignatureDoesNotMatch</Code> %s", r.URL.Query().Get("sig"))
	})
	gone := serve(t, answer(200, ""))
	gone.Close()
	for name, location := range map[string]string{
		"refused":      refusing.URL + "/x?sig=" + secret,
		"unreachable":  gone.URL + "/x?sig=" + secret,
		"malformed":    "http://h/%zz?sig=" + secret,
		"quoted":       "http://h/%zz\"?a=\"&sig=" + secret,
		"login":        "http://user:" + secret + "@%zz/",
		"other scheme": "gopher://h/?sig=" + secret,
		"loop":         "?sig=" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, openly(answer(http.StatusTemporaryRedirect, "", "Location", location)))
			c := connect(t, s.URL)
			c.secrets = append(c.secrets, secret)
			_, err := read(t, c, blobRef(t, oci.FromBytes(nil)))
			c.wantCode(t, err, oci.Unavailable)
			_, err = c.Resolve(t.Context(), blobRef(t, oci.FromBytes(nil)))
			c.wantCode(t, err, oci.Unavailable)
		})
	}
}

func TestErrorsTellNoToken(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answer(200, `{"token":"TOKEN-TOKEN"}`)(w, r)
			return
		}
		challenging(func() string { return s.URL + "/token" }, func(w http.ResponseWriter, r *http.Request) {
			answer(500, "you sent "+r.Header.Get("Authorization"))(w, r)
		})(w, r)
	})
	c := connect(t, s.URL)
	_, err := read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
	if err == nil || !strings.Contains(err.Error(), "you sent Bearer") {
		t.Errorf("%v: the upstream's words are lost", err)
	}
}

func TestIsPrivate(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "172.32.0.1": false, "192.168.1.1": true,
		"169.254.169.254": true, "100.64.0.1": true, "100.128.0.1": false, "0.0.0.0": true, "224.0.0.1": true,
		"255.255.255.255": true, "::1": true, "::": true, "fe80::1": true, "fd00:ec2::254": true, "ff02::1": true,
		"::ffff:127.0.0.1": true, "::ffff:8.8.8.8": false, "8.8.8.8": false, "2606:4700::1": false,
	} {
		if got := isPrivate(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s private: %v, want %v", address, got, want)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	address := listener.Addr().String()
	dial := func(g *guard) error {
		d := &net.Dialer{ControlContext: g.control}
		conn, err := g.dial(t.Context(), d, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	public := &guard{upstream: "registry.example:443", proxies: map[string]bool{}}
	if err := dial(public); !errors.Is(err, errPrivate) {
		t.Errorf("from a public upstream: %v, want %v", err, errPrivate)
	}
	public.proxies[address] = true
	check(t, dial(public))
	if public.private {
		t.Error("a proxy at a private address makes the upstream private")
	}
	private := &guard{upstream: address}
	check(t, dial(private))
	private.upstream = "another:80"
	check(t, dial(private)) // an upstream at a private address may lead to others
	trusted := context.WithValue(t.Context(), anywhere{}, true)
	if err := public.control(trusted, "tcp", "127.0.0.1:1", nil); err != nil {
		t.Error(err)
	}
	if err := public.control(t.Context(), "tcp", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
	if err := public.control(t.Context(), "tcp", "nonsense", nil); err == nil {
		t.Error("an address that does not parse is let through")
	}
}

// The transport of a public upstream connects to nothing at home.
func TestTransportOfAPublicUpstream(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	public, err := url.Parse("https://registry.example")
	check(t, err)
	transport := NewTransport(public)
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL()+"/v2/", nil)
	check(t, err)
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, errPrivate) || h.Counters().Requests != 0 {
		t.Errorf("error %v, %d requests; want %v, 0", err, h.Counters().Requests, errPrivate)
	}
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://a": "a:80", "https://a": "a:443", "https://a:1": "a:1", "http://[::1]": "[::1]:80", "socks5://p": "p:1080",
	} {
		u, err := url.Parse(address)
		check(t, err)
		if got := hostPort(u); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
