package cache_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryIndex is an Index that outlives the caches of one test.
type memoryIndex struct {
	mu    sync.Mutex
	blobs map[oci.Digest]cache.BlobRecord
	tags  map[oci.Ref]cache.TagRecord
}

func newMemoryIndex() *memoryIndex {
	return &memoryIndex{blobs: make(map[oci.Digest]cache.BlobRecord), tags: make(map[oci.Ref]cache.TagRecord)}
}

func (ix *memoryIndex) Blobs() iter.Seq2[cache.BlobRecord, error] { return values(&ix.mu, ix.blobs) }
func (ix *memoryIndex) Tags() iter.Seq2[cache.TagRecord, error]   { return values(&ix.mu, ix.tags) }

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

func (ix *memoryIndex) PutBlobs(records ...cache.BlobRecord) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, r := range records {
		ix.blobs[r.Digest] = r
	}
	return nil
}

func (ix *memoryIndex) RemoveBlobs(ds ...oci.Digest) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, d := range ds {
		delete(ix.blobs, d)
	}
	return nil
}

func (ix *memoryIndex) PutTag(r cache.TagRecord) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.tags[r.Ref] = r
	return nil
}

func (ix *memoryIndex) RemoveTags(refs ...oci.Ref) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for _, ref := range refs {
		delete(ix.tags, ref)
	}
	return nil
}

func (ix *memoryIndex) used(d oci.Digest) time.Time {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.blobs[d].Used
}

// fixture is what a cache under test stands on; it can be started again.
type fixture struct {
	*cache.Cache
	fake  *ocitest.Fake
	index *memoryIndex
	dir   string
	stop  func() // ends Run and waits for it
}

// always is one freshness for all tags.
func always(d time.Duration) func(oci.Ref) time.Duration {
	return func(oci.Ref) time.Duration { return d }
}

// start returns a running cache in front of fake. change may alter its options.
func start(t *testing.T, fake *ocitest.Fake, change ...func(*cache.Options)) *fixture {
	t.Helper()
	f := &fixture{fake: fake, index: newMemoryIndex(), dir: t.TempDir()}
	f.restart(t, change...)
	return f
}

// restart starts a new cache on what the last one has left.
func (f *fixture) restart(t *testing.T, change ...func(*cache.Options)) {
	t.Helper()
	o := f.options(t)
	for _, c := range change {
		c(&o)
	}
	var err error
	if f.Cache, err = cache.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(f.stop)
}

// options are those of a cache on what the last one has left.
func (f *fixture) options(t *testing.T) cache.Options {
	t.Helper()
	store, err := disk.Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := filepath.Join(f.dir, "fills")
	if err := os.MkdirAll(parts, 0o755); err != nil {
		t.Fatal(err)
	}
	return cache.Options{
		Next: f.fake, Store: store, Policy: lru.NewPolicy(), Metadata: lru.NewPolicy(), Index: f.index,
		Parts: parts, MaxSize: 1 << 30, Fresh: always(time.Minute), FreshLists: time.Minute, MaxStale: 30 * 24 * time.Hour, MaxSilence: 1500 * time.Millisecond,
	}
}

// mustRead reads ref whole and checks bytes and way.
func (f *fixture) mustRead(t *testing.T, ref oci.Ref, want []byte, via oci.Via) {
	t.Helper()
	got, answer, err := ocitest.Read(t.Context(), f, ref)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %s: %d bytes instead of %d, %v", ref, len(got), len(want), err)
	}
	if answer.Via != via {
		t.Errorf("read %s: via %s, want %s", ref, answer.Via, via)
	}
}

// settled waits until no fill is under way. It is for a synctest bubble.
func (f *fixture) settled(t *testing.T) {
	t.Helper()
	for f.Stats().Fills > 0 {
		<-time.After(time.Millisecond)
	}
}

// paced is a body that comes at rate bytes a second, in pieces.
type paced struct {
	io.ReadSeeker
	rate int
}

const piece = 16 << 10

func (p paced) Read(b []byte) (int, error) {
	n, err := p.ReadSeeker.Read(b[:min(len(b), piece)])
	if n > 0 {
		<-time.After(time.Duration(n) * time.Second / time.Duration(p.rate))
	}
	return n, err
}

// pace makes the fake's bodies come at rate bytes a second.
func pace(fake *ocitest.Fake, rate int) {
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return paced{body, rate} })
}

func files(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
