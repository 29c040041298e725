package cache_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// Fetched content is served after a restart while the upstream is down.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 10_000)
		raw := cachetest.Put(fake, "v1", 1)
		tag := ocitest.ManifestRef(t, "v1")
		f := start(t, fake)
		f.MustRead(t, tag, raw, oci.Fill)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		fake.Fail(cachetest.Down)
		f.Restart(t)
		f.MustRead(t, tag, raw, oci.Hit) // still fresh
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, raw, oci.Stale)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Hit)
		}
	})
}

// Recency survives a restart: the blob that was used last is evicted last.
func TestRecencySurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		f := start(t, fake, budget(250_000))
		for i := range 2 {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		<-time.After(16 * time.Second)
		if age := time.Since(f.Index.Used(refs[0].Digest())); age > 30*time.Second {
			t.Errorf("the index has a use of %s ago; only half a minute may be lost", age)
		}
		f.Stop()
		f.Restart(t, budget(250_000))
		f.MustRead(t, refs[2], contents[2], oci.Fill)
		f.Settled(t)
		f.MustRead(t, refs[0], contents[0], oci.Hit)
	})
}

// A file without a record, which a crash may leave, is served. A blob whose file
// somebody has removed is fetched again.
func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 10_000)
		f := start(t, fake)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		if err := f.Index.RemoveBlobs(refs[0].Digest()); err != nil {
			t.Fatal(err)
		}
		hex := refs[1].Digest().Encoded()
		if err := os.Remove(filepath.Join(f.Dir, "blobs", "sha256", hex[:2], hex)); err != nil {
			t.Fatal(err)
		}
		var found cache.Reconciliation
		f.Restart(t, func(o *cachetest.Options) {
			o.Cache.Hooks.Reconciled = func(r cache.Reconciliation, err error) { found = r }
		})
		synctest.Wait()
		if want := (cache.Reconciliation{Adopted: 1, Lost: 1}); found != want {
			t.Errorf("found %+v, want %+v", found, want)
		}
		f.MustRead(t, refs[0], contents[0], oci.Hit)
		f.MustRead(t, refs[1], contents[1], oci.Fill)
	})
}

// A missing or truncated file is noticed when it is requested, and fetched again.
func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			fake := new(ocitest.Fake)
			refs, contents := blobs(t, fake, 1, 10_000)
			var damaged atomic.Value
			f := start(t, fake, func(o *cachetest.Options) {
				o.Cache.Hooks.Damaged = func(_ oci.Digest, err error) { damaged.Store(err) }
			})
			f.MustRead(t, refs[0], contents[0], oci.Fill)
			f.Stop() // so that the blob is stored
			hex := refs[0].Digest().Encoded()
			f.Restart(t, func(o *cachetest.Options) {
				o.Cache.Hooks.Damaged = func(_ oci.Digest, err error) { damaged.Store(err) }
			})
			if err := damage(filepath.Join(f.Dir, "blobs", "sha256", hex[:2], hex)); err != nil {
				t.Fatal(err)
			}
			f.MustRead(t, refs[0], contents[0], oci.Fill)
			err, _ := damaged.Load().(error)
			if err == nil || !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "wrong size") {
				t.Errorf("reported %v", err)
			}
		})
	}
}

// An adopted file has no media type: a request for the manifest fetches it again, and
// then it is served as a manifest and as a blob.
func TestAdoptedManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		ref := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
		f := start(t, fake)
		f.MustRead(t, ref, raw, oci.Fill)
		f.Stop()
		if err := f.Index.RemoveBlobs(ref.Digest()); err != nil {
			t.Fatal(err)
		}
		f.Restart(t)
		synctest.Wait()
		f.MustRead(t, ocitest.BlobRef(t, ref.Digest()), raw, oci.Hit)
		f.MustRead(t, ref, raw, oci.Fill)
		f.Settled(t)
		f.MustRead(t, ref, raw, oci.Hit)
		if s := f.Stats(); s.Bytes != int64(len(raw)) || s.Entries != 1 {
			t.Errorf("counted twice: %+v", s)
		}
	})
}

// A found file, which was probably being evicted, evicts nothing: it is removed when
// the cache is full without it.
func TestFoundFilesEvictNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		f := start(t, fake)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		if err := f.Index.RemoveBlobs(refs[2].Digest()); err != nil {
			t.Fatal(err)
		}
		f.Restart(t, budget(250_000))
		synctest.Wait()
		for i := range 2 {
			f.MustRead(t, refs[i], contents[i], oci.Hit)
		}
		if left := cachetest.Files(t, f.Dir, "blobs", "*", "*", "*"); len(left) != 2 {
			t.Errorf("%d files are left, want 2", len(left))
		}
	})
}
