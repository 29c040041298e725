package cache_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// life is a cache that is too small for what is requested, on a Store and an Index of
// which one method fails.
type life struct {
	*testing.T
	*fixture
	breakage
	contents map[oci.Ref][]byte // of everything the upstream has, by digest
	order    []oci.Ref
	tags     map[oci.Ref][]byte // what each tag names; nil: it was deleted
}

// A small cache has to evict; a large one shows what is left.
const (
	small = 350_000
	large = 1 << 30
)

func newLife(t *testing.T) *life {
	l := &life{T: t, contents: make(map[oci.Ref][]byte), tags: make(map[oci.Ref][]byte)}
	fake := new(ocitest.Fake)
	refs, contents := blobs(t, fake, 5, 100_000)
	for i, ref := range refs {
		l.has(ref, contents[i])
	}
	l.fixture = &fixture{&cachetest.Fixture{Fake: fake, Index: cachetest.NewIndex(), Dir: t.TempDir()}}
	l.name("moving", 1)
	l.name("leaving", 2)
	l.start(small)
	return l
}

func (l *life) has(ref oci.Ref, content []byte) {
	l.contents[ref] = content
	l.order = append(l.order, ref)
}

// name makes a tag name the n-th manifest, which can be fetched as a blob, too.
func (l *life) name(tag string, n int) {
	raw := cachetest.Put(l.Fake, tag, n)
	l.has(ocitest.ManifestRef(l.T, oci.FromBytes(raw).String()), raw)
	l.has(ocitest.BlobRef(l.T, l.Fake.AddBlob(ocitest.Repo, raw)), raw)
	l.tags[ocitest.ManifestRef(l.T, tag)] = raw
}

func (l *life) start(size int64) {
	l.Restart(l.T, budget(size), func(o *cachetest.Options) {
		o.Tags.Limits.MaxStale = 5 * time.Minute
		o.Cache.Store = brokenStore{o.Cache.Store, &l.breakage}
		cachetest.WithIndex(brokenIndex{l.Index, &l.breakage})(o)
	})
	synctest.Wait() // the directory has been reconciled with the index
}

// readAll reads everything and checks the cache's accounts.
func (l *life) readAll(when string) {
	l.Helper()
	for _, ref := range l.order {
		l.read(when, ref, l.contents[ref])
	}
	for tag, raw := range l.tags {
		l.read(when, tag, raw)
	}
	var bytes int64
	cached := l.cached(oci.Blob)
	for _, ref := range cached {
		bytes += int64(len(l.contents[ref]))
		if _, err := os.Stat(l.path(ref.Digest())); err != nil {
			l.Errorf("%s: cached, but there is no file: %v", when, err)
		}
	}
	if s := l.Stats(); s.Bytes != bytes || s.Entries != len(cached) || s.Reserved != 0 || s.Bytes > s.MaxBytes {
		l.Errorf("%s: %d bytes in %d entries are accounted for, %d in %d are cached, %d are reserved",
			when, s.Bytes, s.Entries, bytes, len(cached), s.Reserved)
	}
}

// cached returns what is cached: a manifest is a blob, too.
func (l *life) cached(kind oci.Kind) (refs []oci.Ref) {
	for _, ref := range l.order {
		if a, err := l.Resolve(l.Context(), ref); err == nil && a.Via == oci.Hit && ref.Kind() == kind {
			refs = append(refs, ref)
		}
	}
	return refs
}

func (l *life) path(d oci.Digest) string {
	return filepath.Join(l.Dir, "blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

func (l *life) read(when string, ref oci.Ref, want []byte) {
	l.Helper()
	got, result, err := ocitest.Read(l.Context(), l, ref)
	gone := want == nil && oci.CodeOf(err) == oci.ManifestUnknown
	if !gone && (err != nil || !bytes.Equal(got, want)) {
		l.Errorf("%s: %s, via %q: %d bytes instead of %d, %v", when, ref, result.Via, len(got), len(want), err)
	}
	<-time.After(time.Second)
	synctest.Wait() // what it has started in the background has ended
}

// change makes the changes that have to be noticed: a tag moves, another is deleted, and a
// file is damaged.
func (l *life) change() {
	l.name("moving", 3)
	leaving := ocitest.ManifestRef(l.T, "leaving")
	l.Fake.RemoveTag(ocitest.Repo, leaving.Tag())
	l.tags[leaving] = nil
	for _, name := range cachetest.Files(l.T, l.Dir, "blobs", "*", "*", "*")[:1] {
		if err := os.Truncate(name, 10); err != nil {
			l.Fatal(err)
		}
	}
	<-time.After(6 * time.Minute) // the tags are too old and are dropped
}

// checkRemembered checks that a restart loses nothing of what was cached, while the
// upstream is down, and finds every file.
func (l *life) checkRemembered(known []oci.Ref) {
	l.Helper()
	l.Stop()
	l.Fake.Fail(cachetest.Down)
	l.start(large)
	for _, ref := range known {
		l.read("remembered", ref, l.contents[ref])
	}
	for tag, raw := range l.tags {
		if raw != nil && slices.Contains(known, tag.At(oci.FromBytes(raw))) {
			l.read("remembered", tag, raw)
		}
	}
	if n := len(cachetest.Files(l.T, l.Dir, "blobs", "*", "*", "*")); n != l.Stats().Entries {
		l.Errorf("%d files for %d entries after a restart", n, l.Stats().Entries)
	}
	l.Fake.Fail(nil)
}

// checkNothingLeft checks that entries, files and records agree, and that nothing else is
// on the disk.
func (l *life) checkNothingLeft() {
	l.Helper()
	<-time.After(time.Minute)
	synctest.Wait() // the index has been written
	n := l.Stats().Entries
	if names := cachetest.Files(l.T, l.Dir, "blobs", "*", "*", "*"); len(names) != n || len(l.Index.BlobRecords) != n {
		l.Errorf("%d files and %d records are left for %d entries", len(names), len(l.Index.BlobRecords), n)
	}
	for d := range l.Index.BlobRecords {
		if _, err := os.Stat(l.path(d)); err != nil {
			l.Errorf("a record has no file: %v", err)
		}
	}
	if parts := cachetest.Files(l.T, l.Dir, "fills", "*"); len(parts) > 0 {
		l.Errorf("left behind: %v", parts)
	}
	for ref, record := range l.Index.TagRecords {
		if l.tags[ref] == nil && record.Refused == "" {
			l.Errorf("the record of %s, which was deleted, is left", ref)
		}
	}
}

// Whichever method of the Store or the Index fails, before or after it has taken effect,
// clients get the right bytes, the accounts are right, and afterwards nothing is left
// behind.
func TestFaultsInPairs(t *testing.T) {
	for _, method := range []string{
		"Store.Open", "Store.Put", "Store.Remove", "Store.All",
		"Index.Blobs", "Index.Tags", "Index.PutBlobs", "Index.RemoveBlobs", "Index.PutTags", "Index.RemoveTags",
	} {
		for pair, applied := range map[string]bool{" fails": false, " takes effect and fails": true} {
			t.Run(method+pair, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { live(newLife(t), method, applied) })
			})
		}
	}
}

func live(l *life, method string, applied bool) {
	l.readAll("before")
	l.set(method, applied)
	l.change()
	l.readAll("broken")
	l.Stop()
	l.start(small)
	l.readAll("broken, after a restart")
	if l.times() == 0 {
		l.Errorf("%s was not called", method)
	}
	known := append(l.cached(oci.Blob), l.cached(oci.Manifest)...)
	<-time.After(time.Minute)
	l.set("", false)
	<-time.After(time.Minute) // it catches up
	l.checkRemembered(known)
	l.readAll("recovered")
	l.checkNothingLeft()
}
