// Package mirrortest puts the mirror together in front of a simulated hub, as
// the daemon does, for tests of the whole.
package mirrortest

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// NewRegistry is the way to the hub at that address, without a login and
// without a mirror.
func NewRegistry(t testing.TB, hub string, transport http.RoundTripper) *upstream.Registry {
	t.Helper()
	address, err := url.Parse(hub)
	check(t, err)
	return upstream.New(upstream.Options{Name: oci.DockerHub, URL: address, Auth: login.Anonymous(), Transport: transport})
}

// NewPool is the mirror's way to it. reserve is in per cent of the hub's limit.
func NewPool(t testing.TB, hub string, transport http.RoundTripper, reserve int) *upstream.Pool {
	t.Helper()
	quota := ratelimit.New(oci.DockerHub, "anonymous", transport)
	return upstream.NewPool(upstream.PoolOptions{
		Name:    oci.DockerHub,
		Reserve: func(limit int) int { return limit * reserve / 100 },
		Aside:   func(string, error, time.Time) {},
		Back:    func(string) {},
		Members: []upstream.Member{{
			Name: "anonymous", Anonymous: true, Budget: quota.Budget, Stamp: func() string { return "" },
			Registry: NewRegistry(t, hub, quota),
		}},
	})
}

// MaxStale is how long a cache of NewCache serves an older copy; a tag is fresh
// for Fresh.
const (
	Fresh    = time.Minute
	MaxStale = 30 * 24 * time.Hour

	maxSilence = 1500 * time.Millisecond
)

// NewCache runs a cache of maxSize bytes in dir, which forgets what it has when
// it is stopped.
func NewCache(t testing.TB, pool *upstream.Pool, dir string, maxSize int64) (mirror *cache.Cache, stop func()) {
	t.Helper()
	store, err := disk.Open(dir)
	check(t, err)
	parts := filepath.Join(dir, "fills")
	check(t, os.MkdirAll(parts, 0o755))
	mirror, err = cache.New(cache.Options{
		Next: pool, Store: store, Policy: lru.NewPolicy(), Metadata: lru.NewPolicy(), Index: nowhere{}, Parts: parts, MaxSize: maxSize,
		Fresh: func(oci.Ref) time.Duration { return Fresh }, FreshLists: Fresh, MaxStale: MaxStale, MaxSilence: maxSilence, Quota: spending{pool},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	return mirror, func() {
		cancel()
		check(t, <-done)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nowhere is an Index that remembers nothing: nothing is restarted.
type nowhere struct{}

func (nowhere) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (nowhere) Tags() iter.Seq2[cache.TagRecord, error] {
	return func(func(cache.TagRecord, error) bool) {}
}
func (nowhere) PutBlobs(...cache.BlobRecord) error { return nil }
func (nowhere) RemoveBlobs(...oci.Digest) error    { return nil }
func (nowhere) PutTag(cache.TagRecord) error       { return nil }
func (nowhere) RemoveTags(...oci.Ref) error        { return nil }

// spending is the daemon's quota, without shares of clients.
type spending struct{ *upstream.Pool }

func (s spending) Spare(context.Context, string) error { return s.Pool.Spare() }
func (spending) Take(context.Context, string) error    { return nil }
func (spending) Return(context.Context, string)        {}
