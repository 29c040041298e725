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
)

// What was fetched is served after a restart, with the upstream down.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 10_000)
		raw := put(fake, "v1", 1)
		tag := ocitest.ManifestRef(t, "v1")
		f := start(t, fake)
		f.mustRead(t, tag, raw, oci.Fill)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.stop()
		fake.Fail(down)
		f.restart(t)
		f.mustRead(t, tag, raw, oci.Hit) // still fresh
		<-time.After(2 * time.Minute)
		f.mustRead(t, tag, raw, oci.Stale)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], oci.Hit)
		}
	})
}

// Recency survives: what was used last before a restart goes last after it.
func TestRecencySurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		f := start(t, fake, budget(250_000))
		for i := range 2 {
			f.mustRead(t, refs[i], contents[i], oci.Fill)
			f.settled(t)
			<-time.After(time.Second)
		}
		f.mustRead(t, refs[0], contents[0], oci.Hit)
		<-time.After(16 * time.Second)
		if age := time.Since(f.index.used(refs[0].Digest())); age > 30*time.Second {
			t.Errorf("the index knows the use of %s ago; half a minute may be lost", age)
		}
		f.stop()
		f.restart(t, budget(250_000))
		f.mustRead(t, refs[2], contents[2], oci.Fill)
		f.settled(t)
		f.mustRead(t, refs[0], contents[0], oci.Hit)
	})
}

// A file that the index does not know is what a crash may leave: it is served.
// A record without a file is what a person may leave: it is fetched again.
func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 10_000)
		f := start(t, fake)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.stop()
		if err := f.index.RemoveBlobs(refs[0].Digest()); err != nil {
			t.Fatal(err)
		}
		hex := refs[1].Digest().Encoded()
		if err := os.Remove(filepath.Join(f.dir, "blobs", "sha256", hex[:2], hex)); err != nil {
			t.Fatal(err)
		}
		var found cache.Reconciliation
		f.restart(t, func(o *cache.Options) {
			o.Hooks.Reconciled = func(r cache.Reconciliation, err error) { found = r }
		})
		synctest.Wait()
		if want := (cache.Reconciliation{Adopted: 1, Lost: 1}); found != want {
			t.Errorf("found %+v, want %+v", found, want)
		}
		f.mustRead(t, refs[0], contents[0], oci.Hit)
		f.mustRead(t, refs[1], contents[1], oci.Fill)
	})
}

// A file that is gone or cut is noticed when it is asked for, and fetched again.
func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"removed":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			fake := new(ocitest.Fake)
			refs, contents := blobs(t, fake, 1, 10_000)
			var damaged atomic.Value
			f := start(t, fake, func(o *cache.Options) {
				o.Hooks.Damaged = func(_ oci.Digest, err error) { damaged.Store(err) }
			})
			f.mustRead(t, refs[0], contents[0], oci.Fill)
			f.stop() // so that the blob is put
			hex := refs[0].Digest().Encoded()
			f.restart(t, func(o *cache.Options) {
				o.Hooks.Damaged = func(_ oci.Digest, err error) { damaged.Store(err) }
			})
			if err := damage(filepath.Join(f.dir, "blobs", "sha256", hex[:2], hex)); err != nil {
				t.Fatal(err)
			}
			f.mustRead(t, refs[0], contents[0], oci.Fill)
			err, _ := damaged.Load().(error)
			if err == nil || !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "wrong size") {
				t.Errorf("told %v", err)
			}
		})
	}
}

// An adopted file has no media type: as a manifest it is asked for again, and
// then both ways are served.
func TestAdoptedManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := put(fake, "v1", 1)
		ref := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
		f := start(t, fake)
		f.mustRead(t, ref, raw, oci.Fill)
		f.stop()
		if err := f.index.RemoveBlobs(ref.Digest()); err != nil {
			t.Fatal(err)
		}
		f.restart(t)
		synctest.Wait()
		f.mustRead(t, ocitest.BlobRef(t, ref.Digest()), raw, oci.Hit)
		f.mustRead(t, ref, raw, oci.Fill)
		f.settled(t)
		f.mustRead(t, ref, raw, oci.Hit)
		if s := f.Stats(); s.Bytes != int64(len(raw)) || s.Entries != 1 {
			t.Errorf("counted twice: %+v", s)
		}
	})
}

// What is found, and was most likely on its way out, takes nobody's place: it is
// removed when the cache is full without it.
func TestFoundFilesPushNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		f := start(t, fake)
		for i := range refs {
			f.mustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.stop()
		if err := f.index.RemoveBlobs(refs[2].Digest()); err != nil {
			t.Fatal(err)
		}
		f.restart(t, budget(250_000))
		synctest.Wait()
		for i := range 2 {
			f.mustRead(t, refs[i], contents[i], oci.Hit)
		}
		if left := files(t, f.dir, "blobs", "*", "*", "*"); len(left) != 2 {
			t.Errorf("%d files are left, want 2", len(left))
		}
	})
}
