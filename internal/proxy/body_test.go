package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// breaking is a body that reads well up to an offset, and then fails as configured.
type breaking struct {
	*bytes.Reader
	at  int64
	end func() (int, error)
}

func (b *breaking) Close() error { return nil }

func (b *breaking) Read(p []byte) (int, error) {
	at, _ := b.Seek(0, io.SeekCurrent)
	if at >= b.at {
		return b.end()
	}
	return b.Reader.Read(p[:min(int64(len(p)), b.at-at)])
}

// Content that bypasses the cache is verified, too: seeking to the end to find the
// size must not end the verification.
func TestCorruptSeekableBodyWithholdsLastByte(t *testing.T) {
	t.Parallel()
	fake := filled()
	fake.Wrap(func(_ oci.Ref, _ io.ReadSeeker) io.Reader {
		wrong := bytes.Clone(blob)
		wrong[17] ^= 1
		return bytes.NewReader(wrong)
	})
	m := start(t, fake)
	r, err := m.try(blobPath, "")
	if err == nil && r.err == nil || len(r.body) >= len(blob) {
		t.Errorf("%d of %d bytes of a wrong blob, %v, %v", len(r.body), len(blob), err, r.err)
	}
	if e := <-m.events; !errors.Is(e.Err, oci.ErrCorrupt) {
		t.Errorf("observed %+v", e)
	}
}

// A directory opens and has a size but cannot be read, like a file on a bad disk.
func TestUnreadableFileIsCutShort(t *testing.T) {
	t.Parallel()
	dir, err := os.Open(t.TempDir())
	check(t, err)
	m := start(t, giving(dir, blobAnswer(10)))
	if r, err := m.try(blobPath, ""); err == nil && r.err == nil && len(r.body) == int(r.ContentLength) {
		t.Errorf("status %d, %d bytes and a clean end", r.StatusCode, len(r.body))
	}
	if e := <-m.events; e.Err == nil || !e.Cut {
		t.Errorf("observed %+v", e)
	}
}

// unseekable hides Seek.
type unseekable struct{ io.ReadCloser }

func blobAnswer(size int64) oci.Result {
	return oci.Result{Descriptor: oci.Descriptor{Digest: oci.Digest(blobDigest), Size: size}, Via: oci.Fill}
}

// A body that fails must not look complete: the connection is cut, the server keeps
// running, and the event has the error.
func TestBrokenBodyCutsTheConnection(t *testing.T) {
	t.Parallel()
	upstreamGone := errors.New("the upstream is gone")
	for name, end := range map[string]func() (int, error){
		"error": func() (int, error) { return 0, upstreamGone },
		"panic": func() (int, error) { panic(upstreamGone) },
	} {
		for kind, test := range map[string]struct {
			size   int64
			ranges string
			seeks  bool
		}{
			"whole":       {10_000, "", true},
			"range":       {10_000, "bytes=100-9000", true},
			"ranges":      {10_000, "bytes=0-99,4000-6000", true},
			"no seek":     {10_000, "", false},
			"no size":     {oci.UnknownSize, "", false},
			"first bytes": {10_000, "bytes=6000-", true},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				var body io.ReadCloser = &breaking{bytes.NewReader(blob), 5000, end}
				if !test.seeks {
					body = unseekable{body}
				}
				m := start(t, giving(body, blobAnswer(test.size)))
				r, err := m.try(blobPath, test.ranges)
				if err == nil && r.err == nil {
					t.Errorf("status %d, %d bytes and a clean end", r.StatusCode, len(r.body))
				}
				e := <-m.events
				if !errors.Is(e.Err, errCut) || !strings.Contains(e.Err.Error(), upstreamGone.Error()) || e.Bytes >= 10_000 || !e.Cut {
					t.Errorf("observed %+v", e)
				}
				m.do(http.MethodGet, "/v2/").want(t, 200, "{}")
			})
		}
	}
}

func (m *mirror) try(path, ranges string) (reply, error) {
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodGet, m.server.URL+path, nil)
	check(m.t, err)
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return reply{resp, body, err}, nil
}

func TestSeekError(t *testing.T) {
	t.Parallel()
	m := start(t, giving(noSeek{http.NoBody}, blobAnswer(10_000)))
	if r, err := m.try(blobPath, ""); err == nil && r.StatusCode == 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	if e := <-m.events; !errors.Is(e.Err, errNoSeek) {
		t.Errorf("observed %+v", e)
	}
}

var errNoSeek = errors.New("cannot seek")

type noSeek struct{ io.ReadCloser }

func (noSeek) Seek(int64, int) (int64, error) { return 0, errNoSeek }

func TestPanicInTheRegistry(t *testing.T) {
	t.Parallel()
	m := start(t, scripted{}) // whose methods are nil
	for _, path := range []string{blobPath, "/v2/a/manifests/3", "/v2/a/tags/list"} {
		if r, err := m.try(path, ""); err == nil {
			t.Errorf("%s: status %d", path, r.StatusCode)
		}
		if e := <-m.events; e.Err == nil || !strings.Contains(e.Err.Error(), "panic: ") {
			t.Errorf("%s: observed %+v", path, e)
		}
	}
	m.do(http.MethodGet, "/v2/").want(t, 200, "{}")
}

// When a client disconnects, the read that waits for the upstream ends, and the body
// is closed and released once.
func TestClientDisconnects(t *testing.T) {
	t.Parallel()
	var done atomic.Int32
	started := make(chan struct{})
	m := start(t, scripted{open: func(ctx context.Context, _ oci.Ref) (*oci.Content, error) {
		wait := func() (int, error) {
			close(started)
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return &oci.Content{
			Result: blobAnswer(10_000),
			Body:   &breaking{bytes.NewReader(blob), 5000, wait},
			Done:   func() { done.Add(1) },
		}, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.server.URL+blobPath, nil)
	check(t, err)
	go func() {
		<-started
		cancel()
	}()
	if resp, err := m.client.Do(req); err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		if err == nil {
			t.Error("a clean end")
		}
		_ = resp.Body.Close()
	}
	if e := <-m.events; !errors.Is(e.Err, context.Canceled) || done.Load() != 1 {
		t.Errorf("observed %+v, given back %d times", e, done.Load())
	}
}

// fromReader is a ResponseWriter that records the argument of ReadFrom.
type fromReader struct {
	*httptest.ResponseRecorder
	source io.Reader
}

func (f *fromReader) ReadFrom(r io.Reader) (int64, error) {
	f.source = r
	return io.Copy(f.ResponseRecorder, r)
}

// The kernel sends a file only if net/http gets the *os.File itself.
func TestFileReachesTheConnection(t *testing.T) {
	t.Parallel()
	for _, ranges := range []string{"", "bytes=5-"} {
		file, a := asFile(t, blob)
		h := New(Options{Registry: giving(file, a), Routes: route.NewTable(route.Upstream{Name: oci.DockerHub})})
		w := &fromReader{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, blobPath, nil)
		r.Header.Set("Range", ranges)
		h.ServeHTTP(w, r)
		limited, ok := w.source.(*io.LimitedReader)
		if !ok {
			t.Fatalf("sent from a %T", w.source)
		}
		if _, ok := limited.R.(*os.File); !ok {
			t.Errorf("sent from a %T", limited.R)
		}
		if err := file.Close(); !errors.Is(err, os.ErrClosed) {
			t.Error("the file is left open")
		}
	}
}

// viaBody is a body whose Via is known only while it is read.
type viaBody struct {
	*bytes.Reader
}

func (viaBody) Close() error { return nil }

func (b viaBody) Via() oci.Via {
	if at, _ := b.Seek(0, io.SeekCurrent); at >= 5000 {
		return oci.Pass
	}
	return oci.Fill
}

func TestViaOfAPart(t *testing.T) {
	t.Parallel()
	for ranges, want := range map[string]oci.Via{"bytes=0-9": oci.Fill, "bytes=6000-6009": oci.Pass} {
		m := start(t, giving(viaBody{bytes.NewReader(blob)}, blobAnswer(10_000)))
		m.do(http.MethodGet, blobPath, "Range", ranges).wantHeader(t, viaHeader, string(want))
		if e := <-m.events; e.Via != want {
			t.Errorf("observed %+v, want %s", e, want)
		}
	}
}

// lateBody is a body whose reads block until there is data.
type lateBody struct {
	viaBody
	ready chan struct{}
}

func (b lateBody) Read(p []byte) (int, error) {
	<-b.ready
	return b.viaBody.Read(p)
}

// A client that waits for the first byte of a fill gets the header immediately:
// containerd times out when it does not arrive within 30 s.
func TestHeaderComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	ready := make(chan struct{})
	m := start(t, giving(lateBody{viaBody{bytes.NewReader(blob)}, ready}, blobAnswer(10_000)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	late := time.AfterFunc(5*time.Second, cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.server.URL+blobPath, nil)
	check(t, err)
	resp, err := m.client.Do(req)
	late.Stop()
	close(ready)
	check(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	reply{resp, body, err}.want(t, http.StatusOK, string(blob)).wantHeader(t, "Content-Length", "10000", viaHeader, "fill")
}
