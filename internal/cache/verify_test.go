package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// place returns the path of the blob that ref names.
func (f *fixture) place(ref oci.Ref) string {
	hex := ref.Digest().Encoded()
	return filepath.Join(f.Dir, "blobs", "sha256", hex[:2], hex)
}

// flipBit damages a file without changing its size.
func flipBit(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// spoil fills f with six blobs and damages all but the first, each in another way. It
// adds an intact file without a record, and a stray.
func spoil(t *testing.T, f *fixture) (refs []oci.Ref, contents [][]byte) {
	t.Helper()
	refs, contents = blobs(t, f.Fake, 6, 10_000)
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
	}
	f.Stop()
	flipBit(t, f.place(refs[1]))
	if err := errors.Join(
		os.Truncate(f.place(refs[2]), 10),
		os.Remove(f.place(refs[3])),
		os.Remove(f.place(refs[4])), os.Mkdir(f.place(refs[4]), 0o750),
		f.Index.RemoveBlobs(refs[5].Digest()),
		os.WriteFile(filepath.Join(f.Dir, "blobs", "README"), []byte("mine"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return refs, contents
}

// verify returns the findings and the names of damaged files.
func verify(t *testing.T, c *cache.Cache, repair bool) (cache.Findings, []string) {
	t.Helper()
	var wrong []string
	found, err := c.Verify(t.Context(), cache.VerifyOptions{Repair: repair}, func(_ cache.Findings, fault *cache.Fault) {
		if fault != nil {
			wrong = append(wrong, fault.Name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(wrong)
	return found, wrong
}

// In a directory that no mirror uses everything is found, and nothing is changed without
// Repair. After a repair everything is fetched again and intact.
func TestVerifyAtRest(t *testing.T) {
	fake := new(ocitest.Fake)
	f := start(t, fake)
	refs, contents := spoil(t, f)
	want := cache.Findings{Blobs: 2, Bytes: 3*10_000 + 10, Of: 3*10_000 + 10, Damaged: 2, Lost: 2, Unknown: 1, Strays: 1}
	names := []string{"README"}
	for _, ref := range refs[1:5] {
		names = append(names, ref.Digest().String())
	}
	slices.Sort(names)
	for _, repair := range []bool{false, false, true} {
		found, wrong := verify(t, f.resting(t), repair)
		if diff := cmp.Diff(want, found); diff != "" || found.Wrong() != 5 {
			t.Errorf("repair %v: %d wrong, findings (-want +got):\n%s", repair, found.Wrong(), diff)
		}
		if !slices.Equal(wrong, names) {
			t.Errorf("repair %v: damaged are %q, want %q", repair, wrong, names)
		}
	}
	found, wrong := verify(t, f.resting(t), true)
	if want := (cache.Findings{Blobs: 2, Bytes: 2 * 10_000, Of: 2 * 10_000}); found != want {
		t.Errorf("after the repair: %+v, %q", found, wrong)
	}
	f.Restart(t)
	for i, ref := range refs {
		via := oci.Fill
		if i == 0 || i == 5 {
			via = oci.Hit
		}
		f.MustRead(t, ref, contents[i], via)
	}
}

// A running cache is repaired while it serves, and its accounts are right.
func TestVerifyLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake)
		refs, contents := spoil(t, f)
		var damaged atomic.Int32
		f.Restart(t, func(o *cachetest.Options) {
			o.Cache.Hooks.Damaged = func(oci.Digest, error) { damaged.Add(1) }
		})
		synctest.Wait() // start-up has checked names and sizes
		if n := damaged.Load(); n != 3 {
			t.Errorf("start-up found %d damaged blobs, want 3", n)
		}
		f.MustRead(t, refs[2], contents[2], oci.Fill)
		f.Settled(t)
		found, wrong := verify(t, f.Cache, true)
		want := cache.Findings{Blobs: 3, Bytes: 40_000, Of: 40_000, Damaged: 1, Unknown: 1, Strays: 1}
		if found != want || !slices.Contains(wrong, refs[1].Digest().String()) {
			t.Errorf("found %+v, want %+v; damaged: %q", found, want, wrong)
		}
		for i, via := range []oci.Via{oci.Hit, oci.Fill, oci.Hit, oci.Fill, oci.Fill, oci.Hit} {
			f.MustRead(t, refs[i], contents[i], via)
		}
		f.Settled(t)
		if s := f.Stats(); s.Bytes != 60_000 || s.Entries != 6 {
			t.Errorf("cached: %+v", s)
		}
	})
}

// Verify reads no faster than its rate limit.
func TestVerifyIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, new(ocitest.Fake))
		refs, contents := blobs(t, f.Fake, 4, mebibyte)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Settled(t)
		begun := time.Now()
		found, err := f.Cache.Verify(t.Context(), cache.VerifyOptions{Rate: mebibyte}, func(cache.Findings, *cache.Fault) {})
		if took := time.Since(begun); err != nil || found.Blobs != 4 || took < 3500*time.Millisecond || took > 4*time.Second {
			t.Errorf("4 MiB at 1 MiB a second took %s: %+v, %v", took, found, err)
		}
	})
}

// Verify ends with its context.
func TestVerifyEnds(t *testing.T) {
	f := start(t, new(ocitest.Fake))
	refs, contents := blobs(t, f.Fake, 3, 1000)
	for i := range refs {
		f.MustRead(t, refs[i], contents[i], oci.Fill)
	}
	f.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := f.resting(t).Verify(ctx, cache.VerifyOptions{Repair: true}, func(cache.Findings, *cache.Fault) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// A file that was never hashed is hashed before it is served: a corrupt one is fetched
// again, and an intact one is served without the upstream.
func TestFoundFilesAreHashedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake)
		refs, contents := blobs(t, fake, 3, 100_000)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
		}
		f.Stop()
		f.Index = cachetest.NewIndex()
		flipBit(t, f.place(refs[0]))
		if err := os.Truncate(f.place(refs[1]), 1000); err != nil {
			t.Fatal(err)
		}
		f.Restart(t)
		synctest.Wait()
		fake.Fail(cachetest.Down)
		f.MustRead(t, refs[2], contents[2], oci.Hit)
		if result, err := f.Resolve(t.Context(), refs[1]); err == nil {
			t.Errorf("a truncated file is described as %+v", result)
		}
		fake.Fail(nil)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		f.MustRead(t, refs[1], contents[1], oci.Fill)
		f.Settled(t)
		if s := f.Stats(); s.Bytes != 300_000 {
			t.Errorf("cached: %+v", s)
		}
	})
}

// The same holds for a manifest whose bytes determine its media type; any other, and
// content that only looks like a manifest, is fetched.
func TestFoundManifests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
		const implied = `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]}`
		const config = `{"architecture":"amd64","config":{"Env":[]},"rootfs":{}}`
		const open = `{"schemaVersion":2}`
		fake := new(ocitest.Fake)
		f := start(t, fake)
		refs := make(map[string]oci.Ref)
		for _, content := range []string{index, implied, config, open} {
			d := fake.AddManifest(ocitest.Repo, "", "application/vnd.oci.image.manifest.v1+json", []byte(content))
			refs[content] = ocitest.ManifestRef(t, d.String())
			f.MustRead(t, refs[content], []byte(content), oci.Fill)
		}
		f.Stop()
		f.Index = cachetest.NewIndex()
		f.Restart(t)
		synctest.Wait()
		fake.Fail(cachetest.Down)
		for content, want := range map[string]string{
			index: "application/vnd.oci.image.index.v1+json", implied: "application/vnd.oci.image.manifest.v1+json", config: "", open: "",
		} {
			got, result, err := ocitest.Read(t.Context(), f, refs[content])
			if result.MediaType != want || (err == nil) != (want != "") || err == nil && string(got) != content {
				t.Errorf("%s is served as %q: %q, %v", content, result.MediaType, got, err)
			}
		}
	})
}

// The scrub hashes everything once within its period, finds corrupt files, and continues
// after a restart with what was hashed longest ago.
func TestScrub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const week = 7 * 24 * time.Hour
		fake := new(ocitest.Fake)
		weekly := func(o *cachetest.Options) { o.Cache.Limits.Scrub = week }
		f := start(t, fake, weekly)
		refs, contents := blobs(t, fake, 4, 100_000)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
			<-time.After(time.Second)
		}
		empty := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, nil)) // takes no time
		f.MustRead(t, empty, nil, oci.Fill)
		<-time.After(time.Minute) // the pass over the empty cache has ended
		for range 4 {
			<-time.After(week / 8)
			f.Stop()
			f.Restart(t, weekly)
			synctest.Wait()
		}
		for r := range f.Index.Blobs() {
			if age := time.Since(r.Verified); age > week/2+time.Minute { // restarts may cost that much
				t.Errorf("%s was hashed %s ago", r.Digest, age)
			}
		}
		flipBit(t, f.place(refs[3]))
		<-time.After(week + time.Hour)
		if _, err := os.Stat(f.place(refs[3])); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after a week the corrupt file is still there: %v", err)
		}
		if s := f.Stats(); s.Entries != 4 || s.ScrubbedBytes < 300_000 || s.ScrubbedBytes > 100_000*s.Scrubbed {
			t.Errorf("after a week: %+v", s)
		}
		f.MustRead(t, refs[3], contents[3], oci.Fill)
	})
}

// resting returns a cache on the same directory that does not run.
func (f *fixture) resting(t *testing.T) *cache.Cache {
	t.Helper()
	f.Stop()
	c, err := cache.New(f.Options(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
