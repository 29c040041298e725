package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// overHTTP2 serves handler over TLS in memory and gets it over HTTP/2.
func overHTTP2(t *testing.T, handler http.Handler) *http.Response {
	t.Helper()
	a := newAuthority(t)
	files := filesIn(t.TempDir())
	a.write(t, "mirror", files)
	certificate, err := LoadCertificate(files, func(err error) { t.Error(err) })
	check(t, err)
	network := serveMemory(t, Options{Handler: handler, TLS: certificate.Config()})
	roots := x509.NewCertPool()
	roots.AddCert(a.certificate)
	transport := &http.Transport{
		DialContext: network.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Get("https://" + mirrorAt)
	check(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.ProtoMajor != 2 {
		t.Fatalf("it is %s", resp.Proto)
	}
	return resp
}

// The time in which the mirror has nothing to send is not the client's.
func TestPauseOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resp := overHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, err := w.Write(make([]byte, 64<<10))
				check(t, err)
				<-time.After(2 * progressTime)
			}
		}))
		if n, err := io.Copy(io.Discard, resp.Body); n != 3*64<<10 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// The end of a body that the server has in its buffer has a bound, too.
func TestEndOfAStreamIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 4 << 20 // of a stream of this client
		resp := overHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, window))
			check(t, err)
			_, err = w.Write(make([]byte, 10)) // stays in the buffer
			check(t, err)
		}))
		<-time.After(2 * progressTime)
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes, %v: the stream was not reset", n, err)
		}
	})
}
