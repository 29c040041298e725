package cache_test

import (
	"errors"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// moods notes what is told of a cache's troubles.
type moods struct {
	mu   sync.Mutex
	told []string
}

func (m *moods) hooks(o *cache.Options) {
	note := func(s string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.told = append(m.told, s)
	}
	o.Hooks.Degraded = func(t cache.Trouble, _ error) { note("-" + string(t)) }
	o.Hooks.Recovered = func(t cache.Trouble) { note("+" + string(t)) }
}

func (m *moods) want(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.told, want) {
		t.Errorf("told %q, want %q", m.told, want)
	}
}

// closedIndex takes nothing and tells nothing while it is closed.
type closedIndex struct {
	*memoryIndex
	closed atomic.Bool
}

var errIndex = errors.New("the index is closed")

func (ix *closedIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.PutBlobs(records...)
}

func (ix *closedIndex) RemoveBlobs(ds ...oci.Digest) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.RemoveBlobs(ds...)
}

func (ix *closedIndex) PutTag(r cache.TagRecord) error {
	if ix.closed.Load() {
		return errIndex
	}
	return ix.memoryIndex.PutTag(r)
}

// While the index takes nothing the cache serves and says so once; when it takes
// something again it is told all that it has missed.
func TestIndexCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 4, 100_000)
		tag, raw := ocitest.ManifestRef(t, "v1"), put(fake, "v1", 1)
		f := start(t, fake)
		f.stop()
		ix := &closedIndex{memoryIndex: f.index}
		var m moods
		f.restart(t, m.hooks, budget(350_000), func(o *cache.Options) { o.Index = ix })
		f.mustRead(t, refs[0], contents[0], oci.Fill)
		f.settled(t)
		ix.closed.Store(true)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], []oci.Via{oci.Hit, oci.Fill, oci.Fill, oci.Fill}[i])
			f.settled(t)
			<-time.After(time.Second)
		}
		f.mustRead(t, tag, raw, oci.Fill)
		<-time.After(time.Minute)
		m.want(t, "-index")
		if f.Stats().Troubles[cache.IndexTrouble] == nil {
			t.Error("the stats know of no trouble")
		}
		ix.closed.Store(false)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.stop()
		fake.Fail(down)
		f.restart(t, budget(350_000))
		synctest.Wait()
		if s := f.Stats(); s.Entries != 4 { // three of the blobs, the first was evicted, and the manifest
			t.Errorf("%d entries are remembered, want 4", s.Entries)
		}
		f.mustRead(t, tag, raw, oci.Stale)
		if n := len(f.index.blobs); n != 4 {
			t.Errorf("the index has %d records, want 4", n)
		}
	})
}

// An index that opens late, because the disk was full at the start, is asked
// then what it knows: files are believed that were found, and tags.
func TestIndexOpensLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag, raw := ocitest.ManifestRef(t, "v1"), put(fake, "v1", 1)
		f := start(t, fake)
		f.mustRead(t, tag, raw, oci.Fill)
		f.stop()
		ix := &lateIndex{memoryIndex: f.index}
		var m moods
		f.restart(t, m.hooks, func(o *cache.Options) { o.Index = ix })
		fake.Fail(down)
		if _, _, err := ocitest.Read(t.Context(), f, tag); err == nil {
			t.Error("a tag is served that nobody has told of")
		}
		ix.open.Store(true)
		<-time.After(time.Minute)
		m.want(t, "-index", "+index")
		f.mustRead(t, tag, raw, oci.Stale)
	})
}

// What fails for want of space makes room by evicting, also where the free space
// does not show it, as with a quota; the download goes on in its place.
func TestFullDiskEvicts(t *testing.T) {
	dir := smallDisk(t) // 1 MiB
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 4, 300_000)
	var m moods
	f := start(t, fake, on(t, dir), m.hooks)
	for i := range refs {
		f.mustRead(t, refs[i], contents[i], oci.Fill)
		for f.Stats().Fills > 0 {
			<-time.After(time.Millisecond)
		}
	}
	f.mustRead(t, refs[3], contents[3], oci.Hit)
	m.want(t)
	if s := f.Stats(); s.Evictions != 1 {
		t.Errorf("%d evictions, want 1", s.Evictions)
	}
}

// A disk that turns read-only costs no client anything, is told of once and
// found out to be writable again.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t)
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 20, 10_000)
		var m moods
		f := start(t, fake, on(t, dir), m.hooks)
		f.mustRead(t, refs[0], contents[0], oci.Fill)
		f.settled(t)
		remount(t, dir, "ro")
		f.mustRead(t, refs[0], contents[0], oci.Hit)
		for i := range refs[1:] {
			f.mustRead(t, refs[i+1], contents[i+1], oci.Pass)
		}
		<-time.After(5 * time.Minute)
		m.want(t, "-disk")
		if err := f.Stats().Troubles[cache.DiskTrouble]; !errors.Is(err, syscall.EROFS) {
			t.Errorf("the trouble is %v", err)
		}
		remount(t, dir, "rw,size=3m") // with room for what finds it out
		<-time.After(time.Minute)
		m.want(t, "-disk", "+disk")
		f.mustRead(t, refs[1], contents[1], oci.Fill)
		f.settled(t)
		if left := files(t, dir, "fills", "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Fatalf("remount: %s", out)
	}
}

// A file system that something else fills up is told of before anybody asks.
func TestNoRoomLeftForTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		var free atomic.Int64
		free.Store(10 << 20)
		var m moods
		f := start(t, fake, m.hooks, func(o *cache.Options) {
			o.MinFree = 5 << 20
			o.Free = func() (int64, error) { return free.Load(), nil }
		})
		f.mustRead(t, refs[0], contents[0], oci.Fill)
		f.settled(t)
		free.Store(1 << 20)
		<-time.After(time.Minute)
		m.want(t, "-disk")
		f.mustRead(t, refs[0], contents[0], oci.Hit) // nothing goes in vain
		f.mustRead(t, refs[1], contents[1], oci.Pass)
		free.Store(10 << 20)
		<-time.After(time.Minute)
		m.want(t, "-disk", "+disk")
		f.mustRead(t, refs[1], contents[1], oci.Fill)
	})
}

// A blob directory of which a file cannot be opened does not keep its blobs from
// clients.
func TestUnreadableBlob(t *testing.T) {
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 1, 1000)
	var m moods
	f := start(t, fake, m.hooks)
	f.mustRead(t, refs[0], contents[0], oci.Fill)
	f.stop()
	leaf := filepath.Dir(f.place(refs[0]))
	if err := errors.Join(os.RemoveAll(leaf), os.WriteFile(leaf, nil, 0o600)); err != nil { // ENOTDIR
		t.Fatal(err)
	}
	f.restart(t, m.hooks)
	f.mustRead(t, refs[0], contents[0], oci.Pass)
}

// lateIndex has no database until it is open.
type lateIndex struct {
	*memoryIndex
	open atomic.Bool
}

func (ix *lateIndex) Blobs() iter.Seq2[cache.BlobRecord, error] {
	if ix.open.Load() {
		return ix.memoryIndex.Blobs()
	}
	return func(yield func(cache.BlobRecord, error) bool) { yield(cache.BlobRecord{}, errIndex) }
}

func (ix *lateIndex) Tags() iter.Seq2[cache.TagRecord, error] {
	if ix.open.Load() {
		return ix.memoryIndex.Tags()
	}
	return func(yield func(cache.TagRecord, error) bool) { yield(cache.TagRecord{}, errIndex) }
}

func (ix *lateIndex) PutBlobs(records ...cache.BlobRecord) error {
	if ix.open.Load() {
		return ix.memoryIndex.PutBlobs(records...)
	}
	return errIndex
}

func (ix *lateIndex) PutTag(r cache.TagRecord) error {
	if ix.open.Load() {
		return ix.memoryIndex.PutTag(r)
	}
	return errIndex
}
