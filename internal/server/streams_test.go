package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/iotest"
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

// frameWriter is a ResponseWriter that notes the size of each write.
type frameWriter struct {
	http.ResponseWriter
	sizes []int
	body  bytes.Buffer
}

func (w *frameWriter) SetWriteDeadline(time.Time) error { return nil }

func (w *frameWriter) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	return w.body.Write(p)
}

// Each frame fits one record of TLS with its header, and a body of a file fills them.
func TestFramesFitRecords(t *testing.T) {
	body := make([]byte, 3*streamBytes+5)
	for i := range body {
		body[i] = byte(i % 251)
	}
	for _, n := range []int{0, 1, frameBytes, frameBytes + 1, 32 << 10, streamBytes, len(body)} {
		w := &frameWriter{}
		s := &progressStream{ResponseWriter: w, control: http.NewResponseController(w), time: time.Minute, left: time.Minute}
		written, err := s.ReadFrom(bytes.NewReader(body[:n]))
		if written != int64(n) || err != nil || !bytes.Equal(w.body.Bytes(), body[:n]) {
			t.Errorf("%d bytes: %d written, %v", n, written, err)
		}
		if len(w.sizes) > 0 && slices.Max(w.sizes)+9 > 16<<10 {
			t.Errorf("%d bytes: frames of %v", n, w.sizes)
		}
		if n == streamBytes && len(w.sizes) != n/frameBytes {
			t.Errorf("%d bytes: %d frames", n, len(w.sizes))
		}
	}
	s := &progressStream{ResponseWriter: &frameWriter{}, control: http.NewResponseController(&frameWriter{}), time: time.Minute, left: time.Minute}
	if n, err := s.ReadFrom(io.MultiReader(bytes.NewReader(body[:7]), iotest.ErrReader(io.ErrNoProgress))); n != 7 || !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a body that breaks off: %d, %v", n, err)
	}
}
