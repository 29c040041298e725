package hubsim

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// onNetwork starts a hub under the names of Docker Hub, and a client of it.
func onNetwork(t *testing.T, n *Network) (*Hub, *http.Client) {
	t.Helper()
	h := start(t, Options{NoAuth: true, Addr: "registry-1.docker.io:80", CDNAddr: "cdn.docker.com:80", Listen: n.Listen})
	transport := &http.Transport{DialContext: n.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return h, &http.Client{Transport: transport}
}

// A hub on a Network works in a bubble: a blob comes through a redirect, and a body
// that stalls takes no real time.
func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, client := onNetwork(t, new(Network))
		d := h.AddBlob(repo, []byte("content of a blob")).String()
		where := "http://registry-1.docker.io/v2/" + repo + "/blobs/" + d
		resp, err := client.Get(where)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err != nil || string(raw) != "content of a blob" || resp.Request.URL.Host != "cdn.docker.com" {
			t.Errorf("%q from %s, %v", raw, resp.Request.URL.Host, err)
		}
		h.Inject(Fault{Op: "cdn", StallAfter: 7})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err = client.Do(req); err != nil {
			t.Fatal(err)
		}
		if raw, err = io.ReadAll(resp.Body); !errors.Is(err, context.DeadlineExceeded) || string(raw) != "content" {
			t.Errorf("%q, %v; want the first 7 bytes", raw, err)
		}
	})
}

// Without a listener dialling is refused; an address has one listener at a time.
func TestNetworkRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Network)
		dial := func(ctx context.Context, address string) error {
			conn, err := n.DialContext(ctx, "tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
		if err := dial(t.Context(), "hub.test:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial without a listener: %v", err)
		}
		l, err := n.Listen("hub.test:80")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Listen("hub.test:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := dial(hurried, "hub.test:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial without an accept: %v", err)
		}
		waiting := make(chan error)
		go func() { waiting <- dial(t.Context(), "hub.test:80") }()
		synctest.Wait()
		_, _ = l.Close(), l.Close()
		if err := <-waiting; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial where somebody has left: %v", err)
		}
		if _, err := n.Listen("hub.test:80"); err != nil {
			t.Errorf("listen where somebody has left: %v", err)
		}
	})
}

// URLs omit the default port of their scheme.
func TestImpliedPorts(t *testing.T) {
	n := new(Network)
	h := start(t, Options{Addr: "registry-1.docker.io:80", CDNAddr: "cdn.docker.com:8080", Listen: n.Listen})
	if h.URL() != "http://registry-1.docker.io" {
		t.Errorf("the hub is at %s", h.URL())
	}
	h.Announce("auth.docker.io:80", "cdn.docker.com:80")
	challenge := ask(h, http.MethodGet, "/v2/", "").Header().Get("Www-Authenticate")
	if want := `Bearer realm="http://auth.docker.io/token",service="registry.docker.io"`; challenge != want {
		t.Errorf("challenge %s, want %s", challenge, want)
	}
}

// With TLS all URLs are https, also that of the CDN.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	h := start(t, Options{NoAuth: true, TLS: server.TLS})
	d := h.AddBlob(repo, []byte("content")).String()
	resp, err := server.Client().Get(h.URL() + "/v2/" + repo + "/blobs/" + d)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || string(raw) != "content" || resp.Request.URL.Scheme != "https" {
		t.Errorf("%q from %s, %v", raw, resp.Request.URL, err)
	}
}

// A lost connection is silent for the dialling end until that closes it.
func TestLose(t *testing.T) {
	var n Network
	l, err := n.Listen("a:1")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	conn, err := n.DialContext(t.Context(), "tcp", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	far := <-accepted
	defer far.Close()
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	n.Lose()
	n.Lose()
	if m, err := conn.Write([]byte("abc")); m != 3 || err != nil {
		t.Errorf("wrote %d bytes, %v", m, err)
	}
	select {
	case err := <-read:
		t.Errorf("a read ends with %v", err)
	default:
	}
	conn.Close()
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close a read ends with %v", err)
	}
}
