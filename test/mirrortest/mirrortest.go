// Package mirrortest runs the mirror in front of a simulated hub, put together as
// the daemon does it, for tests of the whole.
package mirrortest

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/stack"
	"mirrord/internal/tags"
	"mirrord/internal/upstream"
)

const (
	Fresh    = time.Minute         // how long a tag is fresh
	MaxStale = 30 * 24 * time.Hour // how long a stale copy is served

	maxSilence = 1500 * time.Millisecond
)

// NewRegistry returns the upstream at that address, without a login and without a
// mirror.
func NewRegistry(t testing.TB, hub string, transport http.RoundTripper) *upstream.Registry {
	return upstream.New(upstream.Options{Name: oci.DockerHub, URL: parse(t, hub), Auth: login.Anonymous(), Transport: transport})
}

// Upstream is the hub at that address under a name, without a login. reserve is in
// per cent of its limit.
func Upstream(t testing.TB, name, hub string, transport http.RoundTripper, reserve int) stack.Upstream {
	return stack.Upstream{
		Name:        name,
		URL:         parse(t, hub),
		Credentials: []stack.Credential{{Name: "anonymous", Login: login.Anonymous()}},
		Reserve:     func(limit int) int { return limit * reserve / 100 },
		Transport:   transport,
		Hooks: stack.UpstreamHooks{
			HostFails:     func(string, error) {},
			HostRecovered: func(string) {},
			LoginFails:    func(string, error, time.Time) {},
			LoginWorks:    func(string) {},
			BudgetLost:    func(string, error) {},
			Resumed:       func() {},
		},
	}
}

// Options are those of a mirror of up with a cache of maxSize bytes in dir. Its
// index forgets everything when the mirror is stopped.
func Options(t testing.TB, dir string, maxSize int64, up ...stack.Upstream) stack.Options {
	t.Helper()
	store, err := disk.Open(dir)
	check(t, err)
	parts := filepath.Join(dir, "fills")
	check(t, os.MkdirAll(parts, 0o755))
	return stack.Options{
		Upstreams: up,
		Ledger:    ratelimit.NewLedger(nil),
		Cache:     cache.Options{Store: store, Index: forgetful{}, Parts: parts, Limits: cache.Limits{MaxSize: maxSize}},
		Tags: tags.Options{
			Index: forgetful{}, Fresh: func(oci.Ref) time.Duration { return Fresh }, Limits: tags.Limits{FreshLists: Fresh, MaxStale: MaxStale, MaxSilence: maxSilence},
		},
	}
}

// Run runs the mirror until stop or the end of t.
func Run(t testing.TB, o stack.Options) (mirror *stack.Stack, stop func()) {
	t.Helper()
	mirror, err := stack.New(o)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		check(t, <-done)
	})
	t.Cleanup(stop)
	return mirror, stop
}

func parse(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	check(t, err)
	return u
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forgetful is an Index that remembers nothing: nothing is restarted.
type forgetful struct{}

func (forgetful) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (forgetful) Tags() iter.Seq2[tags.Record, error] {
	return func(func(tags.Record, error) bool) {}
}
func (forgetful) PutBlobs(...cache.BlobRecord) error { return nil }
func (forgetful) RemoveBlobs(...oci.Digest) error    { return nil }
func (forgetful) PutTags(...tags.Record) error       { return nil }
func (forgetful) RemoveTags(...oci.Ref) error        { return nil }
