package upstream

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// relay is a network whose dials are counted.
type relay struct {
	hubsim.Network
	dials atomic.Int32
}

func (r *relay) dial(ctx context.Context, network, address string) (net.Conn, error) {
	r.dials.Add(1)
	return r.DialContext(ctx, network, address)
}

// protocols are those of an upstream behind a relay.
var protocols = map[string]bool{"HTTP/1.1": false, "HTTP/2": true}

// behindRelay serves handle over TLS and returns a client of it.
func behindRelay(t *testing.T, http2 bool, handle http.HandlerFunc) (*client, *relay, *breakers) {
	t.Helper()
	r := new(relay)
	listener, err := r.Listen("example.com:443")
	check(t, err)
	server := httptest.NewUnstartedServer(handle)
	_ = server.Listener.Close() // a socket, which a bubble does not wait for
	server.Listener, server.EnableHTTP2 = listener, http2
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	u, err := url.Parse("https://example.com")
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	transport.Proxy, transport.DialContext = nil, r.dial
	transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	b := newBreakersOf(u.String(), transport)
	return connectBy(t, u, b), r, b
}

// onBoth runs test with each protocol.
func onBoth(t *testing.T, test func(t *testing.T, http2 bool)) {
	for name, http2 := range protocols {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, http2) })
		})
	}
}

// A NAT, a load balancer or a proxy has dropped all connections: the first request
// is answered all the same, and no later one waits.
func TestLostConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, http2 bool) {
		c, r, _ := behindRelay(t, http2, openly(func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(time.Second)
			answer(200, "{}", "Content-Type", imageType)(w, nil)
		}))
		var clients sync.WaitGroup
		for range 10 {
			clients.Go(func() {
				_, err := read(t, c, manifestRef(t, "v1"))
				check(t, err)
			})
		}
		clients.Wait()
		before := r.dials.Load()
		<-time.After(30 * time.Second)
		r.Lose()
		for i := range 30 {
			begun := time.Now()
			_, err := read(t, c, manifestRef(t, "v1"))
			took := time.Since(begun)
			if err != nil || i == 0 && took > deadTime+2*time.Second || i > 0 && took > time.Second {
				t.Errorf("request %d: %v after %v", i, err, took)
			}
		}
		if after := r.dials.Load(); after != before+1 {
			t.Errorf("%d connections, and %d more", before, after-before)
		}
	})
}

// A probe recovers as well: a host that is back is not held to be failing.
func TestProbeOverALostConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, http2 bool) {
		var fail bool
		c, r, b := behindRelay(t, http2, openly(func(w http.ResponseWriter, _ *http.Request) {
			if fail {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		_, _ = read(t, c, manifestRef(t, "v1"))
		fail = true
		for i := range hostFailures {
			_, _ = read(t, c, manifestRef(t, "v"+string(rune('a'+i))))
			<-time.After(between)
		}
		if b.Failing() != 1 {
			t.Fatal("the host does not fail")
		}
		r.Lose()
		defer b.run(t)()
		<-time.After(probeTime + 3*probeEvery)
		if b.Failing() != 0 {
			t.Error("the host still fails")
		}
	})
}

// A download whose connection is lost goes on over another, and over HTTP/2 it
// does not take the time of a body that stalls.
func TestDownloadOverALostConnection(t *testing.T) {
	content := ocitest.Content(300_000, 1)
	onBoth(t, func(t *testing.T, http2 bool) {
		c, r, _ := behindRelay(t, http2, openly(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(slowly{w, r.Context(), 50_000}, r, "", time.Time{}, bytes.NewReader(content))
		}))
		opened, err := c.Open(t.Context(), blobRef(t, oci.FromBytes(content)))
		check(t, err)
		raw := make([]byte, len(content))
		_, err = io.ReadFull(opened.Body, raw[:100_000])
		check(t, err)
		r.Lose()
		begun := time.Now()
		_, err = io.ReadFull(opened.Body, raw[100_000:])
		check(t, err)
		check(t, opened.Close())
		most := idleTime
		if http2 {
			most = deadTime
		}
		if took := time.Since(begun); took > most+10*time.Second || !bytes.Equal(raw, content) {
			t.Errorf("took %v", took)
		}
	})
}

// One path hangs while a blob comes over the same connection: the blob is not
// cut, and who asks next does so over another connection.
func TestSlowConnectionIsNotCut(t *testing.T) {
	content := ocitest.Content(60_000, 1)
	onBoth(t, func(t *testing.T, http2 bool) {
		var blobs int
		c, r, _ := behindRelay(t, http2, openly(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/hangs"):
				<-r.Context().Done()
			case strings.Contains(r.URL.Path, "/blobs/"):
				blobs++
				http.ServeContent(slowly{w, r.Context(), 1000}, r, "", time.Time{}, bytes.NewReader(content))
			default:
				answer(200, "{}", "Content-Type", imageType)(w, r)
			}
		}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantBlob(t, c, oci.FromBytes(content), len(content))
		}()
		<-time.After(time.Second)
		before := r.dials.Load()
		if _, err := read(t, c, manifestRef(t, "hangs")); err == nil {
			t.Error("an answer")
		}
		_, err := read(t, c, manifestRef(t, "v1"))
		check(t, err)
		if n := r.dials.Load(); n <= before {
			t.Error("the connection that did not answer is used again")
		}
		<-done
		if blobs != 1 {
			t.Errorf("%d requests for the blob, want 1", blobs)
		}
	})
}

// A server that ends one request's stream lives, and so does the connection: the
// request is not sent again, which would count a pull twice.
func TestResetStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked int
		c, r, _ := behindRelay(t, true, openly(func(w http.ResponseWriter, r *http.Request) {
			if asked++; strings.HasSuffix(r.URL.Path, "/reset") {
				panic(http.ErrAbortHandler)
			}
			answer(200, "{}", "Content-Type", imageType)(w, r)
		}))
		for range 3 {
			if _, err := read(t, c, manifestRef(t, "reset")); err == nil {
				t.Error("an answer")
			}
		}
		if n := r.dials.Load(); asked != 3 || n != 1 {
			t.Errorf("%d requests over %d connections, want 3 over 1", asked, n)
		}
	})
}
