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

// on moves the cache's files to the file system at dir.
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

// The disk fills up in the middle of a download. Every client gets all of it, whether
// its size is known or not, and a blob that fits is cached when there is space again.
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
			var reported atomic.Int32
			f := start(t, fake, on(t, dir), func(o *cachetest.Options) {
				o.Cache.Hooks.FillFailed = func(ref oci.Ref, err error) { t.Errorf("fill of %s failed: %v", ref, err) }
				o.Health.Degraded = func(c health.Component, err error) { reported.Add(1) }
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
			if n := reported.Load(); n != 1 || f.Stats().Degraded[health.Disk] == nil {
				t.Errorf("the disk was reported as degraded %d times, now %v", n, f.Stats().Degraded)
			}
			if left := cachetest.Files(t, dir, "fills", "*"); len(left) > 0 {
				t.Errorf("left behind on the full disk: %v", left)
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

// A fill that finds the disk too small frees it before it requests the blob again.
func TestDiskIsFreeBeforeTheNextRequest(t *testing.T) {
	fake := new(ocitest.Fake)
	fake.HideSize()
	blob, small := ocitest.Content(3<<20, 1), ocitest.Content(100_000, 2)
	ref, fits := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob)), ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, small))
	f := start(t, fake, on(t, smallDisk(t)))
	fake.Fail(func(c ocitest.Call) error {
		if c.Reference == ref.Reference() && fake.Calls("Open", c.Reference) == 2 {
			_, result, err := ocitest.Read(t.Context(), f, fits)
			if err != nil || result.Via != oci.Fill {
				t.Errorf("meanwhile a blob that fits came via %s, %v", result.Via, err)
			}
		}
		return nil
	})
	f.MustRead(t, ref, blob, oci.Pass)
	if n := fake.Calls("Open", ref.Reference()); n != 2 {
		t.Errorf("%d requests upstream", n)
	}
}

// Wrong bytes are withheld from a client that continues without the disk.
func TestDiskFullAndWrongBytes(t *testing.T) {
	dir := smallDisk(t)
	fake := new(ocitest.Fake)
	blob := ocitest.Content(3<<20, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	blob[2<<20] ^= 1 // the fake keeps these very bytes, under the digest of before
	f := start(t, fake, on(t, dir))
	got, _, err := ocitest.Read(t.Context(), f, ref)
	if err == nil || len(got) >= len(blob) {
		t.Errorf("%d bytes of %d, %v: a wrong blob completed", len(got), len(blob), err)
	}
}
