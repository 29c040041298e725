package cache_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
	"mirrord/test/smalldisk"
)

// moods records what health reports: -disk when it degrades, +disk when it recovers.
type moods struct {
	mu       sync.Mutex
	reported []string
}

func (m *moods) hooks(o *cachetest.Options) {
	note := func(s string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.reported = append(m.reported, s)
	}
	o.Health.Degraded = func(t health.Component, _ error) { note("-" + string(t)) }
	o.Health.Recovered = func(t health.Component) { note("+" + string(t)) }
}

func (m *moods) want(t *testing.T, want ...string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.reported, want) {
		t.Errorf("reported %q, want %q", m.reported, want)
	}
}

// A write that fails for lack of space evicts blobs, also where free space does not
// show the lack, as with a quota; then the download continues.
func TestFullDiskEvicts(t *testing.T) {
	dir := smallDisk(t) // 1 MiB
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 4, 300_000)
	var m moods
	f := start(t, fake, on(t, dir), m.hooks)
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
		for f.Stats().Fills > 0 {
			<-time.After(time.Millisecond)
		}
	}
	f.MustRead(t, refs[3], contents[3], oci.Hit)
	m.want(t)
	if s := f.Stats(); s.Evictions != 1 {
		t.Errorf("%d evictions, want 1", s.Evictions)
	}
}

// The same holds for lack of inodes.
func TestNoInodesEvicts(t *testing.T) {
	dir := smalldisk.Mount(t, "", "size=10m,nr_inodes=60")
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 60, 200_000)
	f := start(t, fake, on(t, dir))
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
		for f.Stats().Fills > 0 {
			<-time.After(time.Millisecond)
		}
	}
	f.MustRead(t, refs[59], contents[59], oci.Hit)
	if s := f.Stats(); s.Evictions == 0 || s.Failed > 0 || len(s.Degraded) > 0 {
		t.Errorf("%d evictions, %d failed fills, degraded: %v", s.Evictions, s.Failed, s.Degraded)
	}
}

// A disk that becomes read-only costs clients nothing, is reported once, and is used
// again when it is writable.
func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t)
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 20, 10_000)
		var m moods
		f := start(t, fake, on(t, dir), m.hooks)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		smalldisk.Remount(t, dir, "ro")
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		for i := range refs[1:] {
			f.MustRead(t, refs[i+1], contents[i+1], oci.Pass)
		}
		<-time.After(5 * time.Minute)
		m.want(t, "-disk")
		if err := f.Stats().Degraded[health.Disk]; !errors.Is(err, syscall.EROFS) {
			t.Errorf("degraded because of %v", err)
		}
		smalldisk.Remount(t, dir, "rw,size=3m") // with space for the retry
		<-time.After(time.Minute)
		m.want(t, "-disk", "+disk")
		f.MustRead(t, refs[1], contents[1], oci.Fill)
		f.Settled(t)
		if left := cachetest.Files(t, dir, "fills", "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// A file system that something else fills is reported without a request.
func TestNoSpaceLeftForTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		var free atomic.Int64
		free.Store(10 << 20)
		var m moods
		f := start(t, fake, m.hooks, func(o *cachetest.Options) {
			o.Cache.Limits.MinFree = 5 << 20
			o.Cache.Free = func() (int64, error) { return free.Load(), nil }
		})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		free.Store(1 << 20)
		<-time.After(time.Minute)
		m.want(t, "-disk")
		f.MustRead(t, refs[0], contents[0], oci.Hit) // nothing was evicted without effect
		f.MustRead(t, refs[1], contents[1], oci.Pass)
		free.Store(10 << 20)
		<-time.After(time.Minute)
		m.want(t, "-disk", "+disk")
		f.MustRead(t, refs[1], contents[1], oci.Fill)
	})
}

// A file in the place of a directory of blobs is replaced.
func TestFileInPlaceOfADirectory(t *testing.T) {
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 1, 1000)
	var m moods
	f := start(t, fake, m.hooks)
	f.MustRead(t, refs[0], contents[0], oci.Fill)
	f.Stop()
	leaf := filepath.Dir(f.place(refs[0]))
	if err := errors.Join(os.RemoveAll(leaf), os.WriteFile(leaf, nil, 0o600)); err != nil { // ENOTDIR
		t.Fatal(err)
	}
	f.Restart(t, m.hooks)
	f.MustRead(t, refs[0], contents[0], oci.Fill)
	f.Stop()
	f.Restart(t, m.hooks)
	f.MustRead(t, refs[0], contents[0], oci.Hit)
	m.want(t)
}

// On a disk that can be neither written nor removed from, nothing is evicted: that would
// free no space.
func TestFailingDiskEvictsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 20, 100_000)
		var free atomic.Int64
		free.Store(100 << 20)
		f := start(t, fake, func(o *cachetest.Options) {
			o.Cache.Store = unremovable{o.Cache.Store}
			o.Cache.Limits.MinFree, o.Cache.Free = 5<<20, func() (int64, error) { return free.Load(), nil }
		})
		for i := range 10 {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		fills := filepath.Join(f.Dir, "fills")
		if err := errors.Join(os.RemoveAll(fills), os.WriteFile(fills, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		free.Store(5<<20 - 1000) // MinFree limits the cache
		for i := 10; i < 20; i++ {
			f.MustRead(t, refs[i], contents[i], oci.Pass)
			<-time.After(2 * time.Second)
		}
		<-time.After(5 * time.Minute)
		if n := f.Stats().Entries; n != 10 {
			t.Errorf("%d of 10 blobs are still served", n)
		}
	})
}

// A manifest that is requested many times while the disk fails costs one pull in all.
func TestManifestOnAFailingDiskCostsOnePull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw, tag := cachetest.Put(fake, "v1", 1), ocitest.ManifestRef(t, "v1")
		ref := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
		f := start(t, fake)
		fills := filepath.Join(f.Dir, "fills")
		if err := errors.Join(os.RemoveAll(fills), os.WriteFile(fills, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })
		var clients sync.WaitGroup
		for range 50 {
			clients.Go(func() { f.MustRead(t, ref, raw, oci.Pass) })
		}
		clients.Wait()
		f.MustRead(t, ref, raw, oci.Hit)
		f.MustRead(t, tag, raw, oci.Revalidated)
		if n := fake.Calls("Open", ref.Reference()); n != 1 {
			t.Errorf("it cost %d pulls, want 1", n)
		}
		fake.Fail(cachetest.Down)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, raw, oci.Stale)
		if err := os.Remove(fills); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		f.Stop()
		f.Restart(t) // it was stored when the disk worked again
		f.MustRead(t, tag, raw, oci.Stale)
	})
}

// unreadable is a Store with one file that cannot be opened.
type unreadable struct {
	cache.Store
	d oci.Digest
}

func (s *unreadable) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	if d == s.d {
		s.d = "" // it is removed and stored again
		return nil, &os.PathError{Op: "open", Path: d.Encoded(), Err: syscall.EIO}
	}
	return s.Store.Open(ctx, d)
}

// A single file that cannot be read is fetched again and reported by verify; the disk is
// not degraded.
func TestUnreadableFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 1000)
		var m moods
		s := new(unreadable)
		f := start(t, fake, m.hooks, func(o *cachetest.Options) { s.Store, o.Cache.Store = o.Cache.Store, s })
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		s.d = refs[0].Digest()
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.Settled(t)
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		s.d = refs[1].Digest()
		if found, names := verify(t, f.Cache, true); found.Damaged != 1 || names[0] != refs[1].Digest().String() {
			t.Errorf("found %+v, damaged: %q", found, names)
		}
		m.want(t)
	})
}

// A request for many ranges causes a limited number of requests upstream, whatever
// prevents the cache from serving it.
func TestManyRangesOnAFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		cachetest.Pace(fake, mebibyte)
		refs, _ := blobs(t, fake, 2, 20*mebibyte)
		f := start(t, fake, budget(25*mebibyte), func(o *cachetest.Options) { o.Cache.Limits.MaxFills = 1 })
		first, err := f.Open(t.Context(), refs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = first.Close() }()
		content, err := f.Open(t.Context(), refs[1]) // its response begins while it waits; there will be no space
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		<-time.After(time.Minute)
		body := content.Body.(io.ReadSeeker)
		var failed error
		for i := range 100 {
			if _, err := body.Seek(int64(i)*100_000, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, failed = io.ReadFull(body, make([]byte, 10)); failed != nil {
				break
			}
		}
		if n := fake.Calls("Open", refs[1].Reference()); failed == nil || n > 20 {
			t.Errorf("%d requests upstream for one client's request, %v", n, failed)
		}
	})
}
