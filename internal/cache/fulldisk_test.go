package cache_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache/disk"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
	"mirrord/test/smalldisk"
)

// fullStore fails to put while an error is set. Otherwise it copies, so that
// unfinished fills may be on another file system.
type fullStore struct {
	*disk.Store
	dir string
	why atomic.Pointer[error]
}

func (s *fullStore) Put(ctx context.Context, d oci.Digest, f *os.File) error {
	if why := s.why.Load(); why != nil {
		return fmt.Errorf("put blob: %w", *why)
	}
	own, err := os.CreateTemp(s.dir, "copy")
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	if _, err := io.Copy(own, io.NewSectionReader(f, 0, 1<<40)); err != nil {
		return err
	}
	if err := s.Store.Put(ctx, d, own); err != nil {
		return err
	}
	return os.Remove(f.Name())
}

// fullness makes the disk full for one step of a fill, so that evicting does not help,
// until the returned function is called.
type fullness struct {
	name  string
	disk  string // options of the file system for fills
	begin func(t *testing.T, s *fullStore, fills string) (end func())
}

func putFails(why error) func(*testing.T, *fullStore, string) func() {
	return func(_ *testing.T, s *fullStore, _ string) func() {
		s.why.Store(&why)
		return func() { s.why.Store(nil) }
	}
}

func remount(full, empty string) func(*testing.T, *fullStore, string) func() {
	return func(t *testing.T, _ *fullStore, fills string) func() {
		smalldisk.Remount(t, fills, full)
		return func() { smalldisk.Remount(t, fills, empty) }
	}
}

// A disk that stays full whatever is evicted costs the cache few blobs and no client a
// byte; when there is space again it is used.
func TestEvictingWithoutEffect(t *testing.T) {
	for _, full := range []fullness{
		{"write", "size=3m", remount("size=4k", "size=3m")},
		{"create", "size=3m,nr_inodes=50", remount("nr_inodes=1", "nr_inodes=50")},
		{"put", "size=3m", putFails(syscall.ENOSPC)},
		{"quota", "size=3m", putFails(syscall.EDQUOT)},
	} {
		t.Run(full.name, func(t *testing.T) {
			fills := smalldisk.Mount(t, "", full.disk)
			synctest.Test(t, func(t *testing.T) { evictWithoutEffect(t, full, fills) })
		})
	}
}

func evictWithoutEffect(t *testing.T, full fullness, fills string) {
	const entries = 200
	fake := new(ocitest.Fake)
	s := &fullStore{dir: t.TempDir()}
	var m moods
	f := start(t, fake, m.hooks, func(o *cachetest.Options) {
		s.Store = o.Cache.Store.(*disk.Store)
		s.dir = filepath.Dir(o.Cache.Parts)
		o.Cache.Store, o.Cache.Parts = s, fills
	})
	add := func(i, size int) (oci.Ref, []byte) {
		content := fmt.Append(ocitest.Content(size, byte(i)), i)
		return ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, content)), content
	}
	for i := range entries {
		ref, content := add(i, 10_000)
		f.MustRead(t, ref, content, oci.Fill)
		f.Settled(t)
	}
	end := full.begin(t, s, fills)
	for i := range 30 {
		ref, content := add(entries+i, 20_000)
		got, _, err := ocitest.Read(t.Context(), f, ref)
		if err != nil || string(got) != string(content) {
			t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
		}
		f.Settled(t)
		<-time.After(2 * time.Second)
	}
	<-time.After(5 * time.Minute)
	m.want(t, "-disk")
	evicted := f.Stats().Evictions
	if evicted == 0 || evicted > entries/10 {
		t.Errorf("%d of %d entries were evicted without effect", evicted, entries)
	}
	end()
	<-time.After(time.Minute)
	m.want(t, "-disk", "+disk")
	ref, content := add(2*entries, 20_000)
	f.MustRead(t, ref, content, oci.Fill)
	f.Settled(t)
	f.MustRead(t, ref, content, oci.Hit)
	if n := f.Stats().Evictions; n != evicted {
		t.Errorf("%d entries were evicted when there was space again", n-evicted)
	}
	<-time.After(2 * time.Second)
}
