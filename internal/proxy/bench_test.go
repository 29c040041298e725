package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/route"
)

// Each benchmark measures the handler and, beside it, a bare net/http handler
// that sends the same bytes, both over a connection of loopback. Read the
// ratio of the two:
//
//	go test -run '^$' -bench . ./internal/proxy

func BenchmarkWarmManifest(b *testing.B) {
	raw := ocitest.Content(2500, 1)
	a := oci.Result{Descriptor: oci.Descriptor{MediaType: imageType, Digest: oci.FromBytes(raw), Size: int64(len(raw))}, Via: oci.Hit}
	path := "/v2/library/alpine/manifests/" + a.Digest.String()
	registry := scripted{open: func(context.Context, oci.Ref) (*oci.Content, error) {
		return &oci.Content{Result: a, Body: seekable{bytes.NewReader(raw)}}, nil
	}}
	b.Run("mirror", func(b *testing.B) { fetch(b, New(hub(registry)), path, a.Size) })
	b.Run("bare", func(b *testing.B) {
		fetch(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", imageType)
			w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
			_, _ = w.Write(raw) // the client counts
		}), path, a.Size)
	})
}

func BenchmarkWarmBlob(b *testing.B) {
	registry := files(b, ocitest.Content(64<<20, 2))
	a, err := registry.Resolve(b.Context(), oci.Ref{})
	check(b, err)
	path := "/v2/library/alpine/blobs/" + a.Digest.String()
	b.Run("mirror", func(b *testing.B) { fetch(b, New(hub(registry)), path, a.Size) })
	b.Run("bare", func(b *testing.B) {
		fetch(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			content, err := registry.Open(r.Context(), oci.Ref{})
			if err != nil {
				panic(err)
			}
			defer func() { _ = content.Close() }()
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", time.Time{}, content.Body.(*os.File))
		}), path, a.Size)
	})
}

func hub(registry oci.Registry) Options {
	return Options{Registry: registry, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub})}
}

// fetch gets path repeatedly over persistent connections.
func fetch(b *testing.B, handler http.Handler, path string, size int64) {
	server := httptest.NewServer(handler)
	defer server.Close()
	transport := &http.Transport{DisableCompression: true, ReadBufferSize: 64 << 10}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err != nil || n != size || resp.StatusCode != http.StatusOK {
			b.Fatalf("status %d, %d bytes, %v", resp.StatusCode, n, err)
		}
		_ = resp.Body.Close()
	}
}
