// Package cachetest runs a cache, with tags above it, in front of a fake registry:
// what the tests of both stand on.
package cachetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
)

// Index is a cache.Index and a tags.Index that outlives the caches of one test.
type Index struct {
	mu          sync.Mutex
	BlobRecords map[oci.Digest]cache.BlobRecord
	TagRecords  map[oci.Ref]tags.Record
}

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{BlobRecords: make(map[oci.Digest]cache.BlobRecord), TagRecords: make(map[oci.Ref]tags.Record)}
}

func (ix *Index) Blobs() iter.Seq2[cache.BlobRecord, error] { return values(&ix.mu, ix.BlobRecords) }
func (ix *Index) Tags() iter.Seq2[tags.Record, error]       { return values(&ix.mu, ix.TagRecords) }

func values[K comparable, V any](mu *sync.Mutex, m map[K]V) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range m {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (ix *Index) PutBlobs(records ...cache.BlobRecord) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, r := range records {
		ix.BlobRecords[r.Digest] = r
	}
	return nil
}

func (ix *Index) RemoveBlobs(ds ...oci.Digest) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, d := range ds {
		delete(ix.BlobRecords, d)
	}
	return nil
}

func (ix *Index) PutTags(records ...tags.Record) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, r := range records {
		ix.TagRecords[r.Ref] = r
	}
	return nil
}

func (ix *Index) RemoveTags(refs ...oci.Ref) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, ref := range refs {
		delete(ix.TagRecords, ref)
	}
	return nil
}

// Used is when d was used, as far as the index knows.
func (ix *Index) Used(d oci.Digest) time.Time {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.BlobRecords[d].Used
}

// Fixture is a running cache and what it stands on; it can be started again. As a
// Registry it is the tags above the cache.
type Fixture struct {
	*tags.Registry
	Cache  *cache.Cache
	Health *health.Monitor
	Fake   *ocitest.Fake
	Index  *Index
	Dir    string
	Stop   func() // ends everything and waits for it
}

// Options of a Fixture.
type Options struct {
	Cache  cache.Options
	Tags   tags.Options
	Health health.Hooks
	Wrap   func(tags.Cache) tags.Cache // what tags see of the cache; nil: all of it
}

// FullIndex is an index of blobs and tags.
type FullIndex interface {
	cache.Index
	tags.Index
}

// WithIndex has cache and tags use ix.
func WithIndex(ix FullIndex) func(*Options) {
	return func(o *Options) { o.Cache.Index, o.Tags.Index = ix, ix }
}

// Stats are the figures of the cache and of the tags above it.
type Stats struct {
	cache.Stats
	Tags     tags.Stats
	Degraded map[health.Component]error
}

// Always is one freshness for all tags.
func Always(d time.Duration) func(oci.Ref) time.Duration {
	return func(oci.Ref) time.Duration { return d }
}

// Start runs a cache in front of fake. change may alter its options.
func Start(t *testing.T, fake *ocitest.Fake, change ...func(*Options)) *Fixture {
	t.Helper()
	f := &Fixture{Fake: fake, Index: NewIndex(), Dir: t.TempDir()}
	f.Restart(t, change...)
	return f
}

// Restart runs a new cache on what the last one has left.
func (f *Fixture) Restart(t *testing.T, change ...func(*Options)) {
	t.Helper()
	o := Options{Cache: f.Options(t), Tags: tags.Options{
		Index: f.Index, Fresh: Always(time.Minute), Limits: tags.Limits{FreshLists: time.Minute, MaxStale: 3 * time.Hour, MaxSilence: 1500 * time.Millisecond},
	}}
	for _, c := range change {
		c(&o)
	}
	f.Health = health.New(o.Health)
	o.Cache.Health, o.Tags.Health = f.Health, f.Health
	var err error
	if f.Cache, err = cache.New(o.Cache); err != nil {
		t.Fatal(err)
	}
	o.Tags.Next = f.Cache
	if o.Wrap != nil {
		o.Tags.Next = o.Wrap(f.Cache)
	}
	f.Registry = tags.New(o.Tags)
	f.Stop = sync.OnceFunc(run(t, f.Health.Run, f.Registry.Run, f.Cache.Run))
	t.Cleanup(f.Stop)
}

// run runs workers until stop.
func run(t *testing.T, workers ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group errgroup.Group
	for _, work := range workers {
		group.Go(func() error { return work(ctx) })
	}
	return func() {
		cancel()
		if err := group.Wait(); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// Options are those of a cache on what the last one has left.
func (f *Fixture) Options(t *testing.T) cache.Options {
	t.Helper()
	store, err := disk.Open(f.Dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := filepath.Join(f.Dir, "fills")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		t.Fatal(err)
	}
	return cache.Options{
		Next: f.Fake, Store: store, Policy: lru.NewPolicy(), Metadata: lru.NewPolicy(), Index: f.Index,
		Health: health.New(health.Hooks{}), Parts: parts, Limits: cache.Limits{MaxSize: 1 << 30},
	}
}

// Stats returns the present figures.
func (f *Fixture) Stats() Stats {
	return Stats{Stats: f.Cache.Stats(), Tags: f.Registry.Stats(), Degraded: f.Health.Degraded()}
}

// MustRead reads ref whole and checks bytes and way.
func (f *Fixture) MustRead(t *testing.T, ref oci.Ref, want []byte, via oci.Via) {
	t.Helper()
	got, result, err := ocitest.Read(t.Context(), f, ref)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %s: %d bytes instead of %d, %v", ref, len(got), len(want), err)
	}
	if result.Via != via {
		t.Errorf("read %s: via %s, want %s", ref, result.Via, via)
	}
}

// Settled waits until no fill is in flight. It is for a synctest bubble.
func (f *Fixture) Settled(t *testing.T) {
	t.Helper()
	for f.Cache.Stats().Fills > 0 {
		<-time.After(time.Millisecond)
	}
}

// Paced is a body that comes at rate bytes a second, in pieces.
type Paced struct {
	io.ReadSeeker
	Rate int
}

// Piece is how many bytes a Paced body gives at once.
const Piece = 16 << 10

func (p Paced) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b[:min(len(b), Piece)])
	if n > 0 {
		<-time.After(time.Duration(n) * time.Second / time.Duration(p.Rate))
	}
	return n, err
}

// Slow returns body at rate bytes a second.
func Slow(body io.ReadSeeker, rate int) Paced { return Paced{ReadSeeker: body, Rate: rate} }

// Pace makes the fake's bodies come at rate bytes a second.
func Pace(fake *ocitest.Fake, rate int) {
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return Paced{body, rate} })
}

// Files returns the files of a pattern.
func Files(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Put adds a manifest that differs by n, and returns it.
func Put(fake *ocitest.Fake, tag string, n int) []byte {
	raw := fmt.Appendf(nil, `{"schemaVersion":2,"n":%d}`, n)
	fake.AddManifest(ocitest.Repo, tag, ocispec.MediaTypeImageManifest, raw)
	return raw
}

// ErrDown is the error of an upstream that is down.
var ErrDown = oci.Errorf(oci.Unavailable, "the upstream is down")

// Down is a fault of a Fake: everything fails with ErrDown.
func Down(ocitest.Call) error { return ErrDown }
