package admin

import (
	"io"
	"iter"
	"log"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/archive"
	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/health"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/server"
)

// forgetful is an index that remembers nothing.
type forgetful struct{}

func (forgetful) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (forgetful) PutBlobs(...cache.BlobRecord) error { return nil }
func (forgetful) RemoveBlobs(...oci.Digest) error    { return nil }

// late is a reader that has nothing to read for an hour.
type late struct{ done bool }

func (l *late) Read([]byte) (int, error) {
	if !l.done {
		l.done = true
		time.Sleep(time.Hour)
	}
	return 0, io.EOF
}

// An archive may take longer than the bodies of other requests.
func TestSlowArchive(t *testing.T) {
	dir := t.TempDir()
	store, err := disk.Open(dir)
	check(t, err)
	synctest.Test(t, func(t *testing.T) {
		c, err := cache.New(cache.Options{
			Health: health.New(health.Hooks{}), Next: new(ocitest.Fake), Store: store, Policy: lru.NewPolicy(), Index: forgetful{}, Parts: dir, Limits: cache.Limits{MaxSize: 1 << 20},
		})
		check(t, err)
		a := New(Options{Archives: &archive.Mirror{Cache: c}})
		network := new(hubsim.Network)
		listener, err := network.Listen("mirror.lan:5001")
		check(t, err)
		s := server.New(listener, server.Options{Handler: stream(a.importArchive), ErrorLog: log.New(io.Discard, "", 0)})
		done := make(chan error, 1)
		go func() { done <- s.Serve() }()
		defer func() { check(t, s.Close()); check(t, <-done) }()
		client := http.Client{Transport: &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true}}
		body := io.MultiReader(strings.NewReader("begins"), new(late), strings.NewReader("ends"))
		resp, err := client.Post("http://mirror.lan:5001", "application/x-tar", body)
		check(t, err)
		text, err := io.ReadAll(resp.Body)
		check(t, err)
		check(t, resp.Body.Close())
		if !strings.Contains(string(text), "unexpected EOF") {
			t.Errorf("%s", text)
		}
	})
}
