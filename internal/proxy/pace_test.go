package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/route"
)

// meter is a Pacer that counts, and fails after so many bytes.
type meter struct {
	allowed int64
	sent    atomic.Int64
}

const meterPiece = 1000

var errMeter = errors.New("no more")

func (*meter) Piece() int { return meterPiece }

func (m *meter) Wait(_ context.Context, n int) error {
	if n > meterPiece {
		return errors.New("too much at once")
	}
	if m.sent.Add(int64(n)) > m.allowed {
		return errMeter
	}
	return nil
}

// fromKernel counts the files that are given to the connection as they are.
type fromKernel struct {
	http.ResponseWriter
	files *atomic.Int32
}

func (w fromKernel) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if ok {
		if _, ok = limited.R.(*os.File); ok {
			w.files.Add(1)
		}
	}
	return w.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
}

// All bodies count and arrive complete, and a file is still sent by the kernel.
func TestPace(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 1234)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(_ context.Context, ref oci.Ref) (*oci.Content, error) {
		result := oci.Result{Descriptor: oci.Descriptor{Digest: ref.Digest(), Size: int64(len(text)), MediaType: "text/plain"}, Via: oci.Hit}
		if ref.Kind() == oci.Manifest {
			return &oci.Content{Result: result, Body: struct {
				io.ReadSeeker
				io.Closer
			}{strings.NewReader(text), io.NopCloser(nil)}}, nil
		}
		file, err := os.Open(path)
		return &oci.Content{Result: result, Body: file}, err
	}
	list := func(context.Context, oci.Listing) (*oci.Page, error) {
		return &oci.Page{Tags: []string{text}}, nil
	}
	m := &meter{allowed: 1 << 20}
	var files atomic.Int32
	handler := New(Options{Pace: m, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub}), Registry: scripted{open: open, list: list}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(fromKernel{w, &files}, r)
	}))
	defer server.Close()
	manifestPath := strings.Replace(blobPath, "/blobs/", "/manifests/", 1)
	for _, test := range []struct {
		path, byteRange, want string
		files                 int32
	}{
		{path: blobPath, want: text, files: 13},
		{path: blobPath, byteRange: "bytes=5-2999", want: text[5:3000], files: 3},
		{path: manifestPath, want: text},
		{path: "/v2/library/alpine/tags/list", want: `{"name":"library/alpine","tags":["` + text + `"]}`},
	} {
		before := m.sent.Load()
		files.Store(0)
		status, got, err := get(t, server.URL+test.path, test.byteRange)
		if err != nil || got != test.want {
			t.Errorf("%s %s: %d, %d bytes of %d, %v", test.path, test.byteRange, status, len(got), len(test.want), err)
		}
		if sent := m.sent.Load() - before; sent != int64(len(test.want)) {
			t.Errorf("%s %s: %d bytes are counted of %d", test.path, test.byteRange, sent, len(test.want))
		}
		if n := files.Load(); n != test.files {
			t.Errorf("%s %s: the kernel has sent %d pieces, want %d", test.path, test.byteRange, n, test.files)
		}
	}

	m.allowed = m.sent.Load() + 5000
	if _, got, err := get(t, server.URL+blobPath, ""); err == nil || len(got) > 5000 {
		t.Errorf("when it may not be sent: %d bytes, %v", len(got), err)
	}
}

func get(t *testing.T, url, byteRange string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
