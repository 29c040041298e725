package cache_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"mirrord/internal/cache/disk"
	"mirrord/internal/health"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
	"mirrord/test/smalldisk"
)

// smallDisk mounts a file system of 1 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	return smalldisk.Mount(t, "", "size=1m")
}

// on puts the cache's files onto the file system at dir.
func on(t *testing.T, dir string) func(*cachetest.Options) {
	return func(o *cachetest.Options) {
		store, err := disk.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		o.Cache.Store, o.Cache.Parts = store, filepath.Join(dir, "fills")
		if err := os.MkdirAll(o.Cache.Parts, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// The disk fills up in the middle of a download. Every client gets all of it,
// of a known size or not, and what fits is kept again when there is space.
func TestDiskFullInTheMiddle(t *testing.T) {
	for _, name := range []string{"known size", "unknown size"} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t)
			fake := new(ocitest.Fake)
			if name == "unknown size" {
				fake.HideSize()
			}
			blob := ocitest.Content(3<<20, 1)
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			var told atomic.Int32
			f := start(t, fake, on(t, dir), func(o *cachetest.Options) {
				o.Cache.Hooks.FillFailed = func(ref oci.Ref, err error) { t.Errorf("fill of %s failed: %v", ref, err) }
				o.Health.Degraded = func(trouble health.Component, err error) { told.Add(1) }
			})
			var clients sync.WaitGroup
			for range 4 {
				clients.Go(func() {
					got, _, err := ocitest.Read(t.Context(), f, ref)
					if err != nil || !bytes.Equal(got, blob) {
						t.Errorf("%d bytes of %d, %v", len(got), len(blob), err)
					}
				})
			}
			clients.Wait()
			if n := told.Load(); n != 1 || f.Stats().Degraded[health.Disk] == nil {
				t.Errorf("told %d times that the disk fails, now %v", n, f.Stats().Degraded)
			}
			if left := cachetest.Files(t, dir, "fills", "*"); len(left) > 0 {
				t.Errorf("%v is left on the full disk", left)
			}
			for f.Cache.CheckAccounts() != nil { // the fill may not have closed its file yet
				runtime.Gosched()
			}
			small := ocitest.Content(100_000, 2)
			fits := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, small))
			f.MustRead(t, fits, small, oci.Fill)
		})
	}
}

// A fill that has found the disk too small does not hold it full while it asks the
// upstream once more.
func TestDiskIsFreeBeforeTheNextRequest(t *testing.T) {
	fake := new(ocitest.Fake)
	fake.HideSize()
	blob, small := ocitest.Content(3<<20, 1), ocitest.Content(100_000, 2)
	ref, fits := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob)), ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, small))
	f := start(t, fake, on(t, smallDisk(t)))
	fake.Fail(func(c ocitest.Call) error {
		if c.Reference == ref.Reference() && fake.Calls("Open", c.Reference) == 2 {
			_, answer, err := ocitest.Read(t.Context(), f, fits)
			if err != nil || answer.Via != oci.Fill {
				t.Errorf("meanwhile what fits comes via %s, %v", answer.Via, err)
			}
		}
		return nil
	})
	f.MustRead(t, ref, blob, oci.Pass)
	if n := fake.Calls("Open", ref.Reference()); n != 2 {
		t.Errorf("%d requests upstream", n)
	}
}

// Wrong bytes are withheld from a client that has to go on without the disk.
func TestDiskFullAndWrongBytes(t *testing.T) {
	dir := smallDisk(t)
	fake := new(ocitest.Fake)
	blob := ocitest.Content(3<<20, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	blob[2<<20] ^= 1 // the fake keeps these very bytes, under the digest of before
	f := start(t, fake, on(t, dir))
	got, _, err := ocitest.Read(t.Context(), f, ref)
	if err == nil || len(got) >= len(blob) {
		t.Errorf("%d bytes of %d, %v: the wrong blob came whole", len(got), len(blob), err)
	}
}
