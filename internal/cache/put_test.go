package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// content returns n bytes that differ by seed.
func content(n int, seed uint64) []byte {
	raw := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	return raw
}

func mustPut(t *testing.T, f *fixture, raw []byte) oci.Digest {
	t.Helper()
	d := oci.FromBytes(raw)
	if err := f.Cache.Put(t.Context(), d, int64(len(raw)), bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	return d
}

// What was put is served as what a fill has fetched, a manifest as one, also after a
// restart, and without the upstream.
func TestPut(t *testing.T) {
	f := start(t, new(ocitest.Fake))
	blob := content(300_000, 1)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	b, m := mustPut(t, f, blob), mustPut(t, f, manifest)
	for range 2 {
		f.MustRead(t, ocitest.BlobRef(t, b), blob, oci.Hit)
		f.MustRead(t, ocitest.ManifestRef(t, m.String()), manifest, oci.Hit)
		f.Stop()
		if err := f.Cache.CheckAccounts(); err != nil {
			t.Error(err)
		}
		f.Restart(t)
	}
	if err := f.Cache.Put(t.Context(), b, int64(len(blob)), failing{}); err != nil {
		t.Errorf("put again, which is to read nothing: %v", err)
	}
}

type failing struct{}

var errRead = errors.New("read")

func (failing) Read([]byte) (int, error) { return 0, errRead }

func TestPutFails(t *testing.T) {
	f := start(t, new(ocitest.Fake), func(o *cachetest.Options) { o.Cache.Limits.MaxSize = 1 << 20 })
	raw := content(200_000, 1)
	d := oci.FromBytes(raw)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		size   int64
		source io.Reader
		want   error
	}{
		{"wrong content", t.Context(), 200_000, bytes.NewReader(content(200_000, 2)), oci.ErrCorrupt},
		{"too long", t.Context(), 199_999, bytes.NewReader(raw), oci.ErrCorrupt},
		{"too short", t.Context(), 200_001, bytes.NewReader(raw), io.ErrUnexpectedEOF},
		{"too large", t.Context(), 1<<20 + 1, bytes.NewReader(raw), cache.ErrNoSpace},
		{"broken", t.Context(), 200_000, failing{}, errRead},
		{"canceled", ended, 200_000, bytes.NewReader(raw), context.Canceled},
	} {
		if err := f.Cache.Put(test.ctx, d, test.size, test.source); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if _, err := f.Cache.OpenCached(t.Context(), ocitest.BlobRef(t, d)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: cached all the same: %v", test.name, err)
		}
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
			t.Errorf("%s: left %v", test.name, left)
		}
		if err := f.Cache.CheckAccounts(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// meanwhile is a source that acts before it gives its bytes.
type meanwhile struct {
	io.Reader
	act func()
}

func (m *meanwhile) Read(p []byte) (int, error) {
	if m.act != nil {
		m.act()
		m.act = nil
	}
	return m.Reader.Read(p)
}

// What two put at the same time stays that of the first, who may hold it.
func TestPutTwiceAtOnce(t *testing.T) {
	f := start(t, new(ocitest.Fake), func(o *cachetest.Options) { o.Cache.Limits.MaxSize = 1 << 20 })
	raw := content(200_000, 1)
	d := oci.FromBytes(raw)
	release := func() {}
	second := io.MultiReader(bytes.NewReader(raw[:100_000]), &meanwhile{bytes.NewReader(raw[100_000:]), func() {
		mustPut(t, f, raw)
		_, release = f.Cache.Hold(d)
	}})
	if err := f.Cache.Put(t.Context(), d, int64(len(raw)), second); err != nil {
		t.Error(err)
	}
	for seed := range uint64(10) {
		mustPut(t, f, content(200_000, 2+seed))
	}
	f.MustRead(t, ocitest.BlobRef(t, d), raw, oci.Hit)
	if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	release()
	if err := f.Cache.CheckAccounts(); err != nil {
		t.Error(err)
	}
}

// What is put is evicted for, and what is held is not evicted.
func TestHold(t *testing.T) {
	f := start(t, new(ocitest.Fake), func(o *cachetest.Options) { o.Cache.Limits.MaxSize = 1 << 20 })
	first := mustPut(t, f, content(400_000, 1))
	mustPut(t, f, content(400_000, 2))
	third := mustPut(t, f, content(400_000, 3))
	missing, release := f.Cache.Hold(first, third)
	if len(missing) != 1 || missing[0] != first {
		t.Errorf("missing %v, want the oldest", missing)
	}
	fourth := mustPut(t, f, content(400_000, 4))
	_, releaseFourth := f.Cache.Hold(fourth)
	raw := content(400_000, 5)
	err := f.Cache.Put(t.Context(), oci.FromBytes(raw), int64(len(raw)), bytes.NewReader(raw))
	if !errors.Is(err, cache.ErrNoSpace) {
		t.Errorf("beside what is held: %v", err)
	}
	release()
	releaseFourth()
	mustPut(t, f, raw)
	if err := f.Cache.CheckAccounts(); err != nil {
		t.Error(err)
	}
}

func TestLink(t *testing.T) {
	f := start(t, new(ocitest.Fake))
	raw := content(300_000, 1)
	d := oci.FromBytes(raw)
	file := openFile(t, f.Dir, raw)
	if err := f.Cache.Link(t.Context(), d, int64(len(raw)), file); err != nil {
		t.Fatal(err)
	}
	f.MustRead(t, ocitest.BlobRef(t, d), raw, oci.Hit)
	stored := cachetest.Files(t, f.Dir, "blobs", "*", "*", d.Encoded())
	if len(stored) != 1 || !same(t, stored[0], file.Name()) {
		t.Errorf("%v is not the file itself", stored)
	}
	if err := f.Cache.Link(t.Context(), d, int64(len(raw)), file); err != nil {
		t.Errorf("again: %v", err)
	}
	wrong := oci.FromBytes([]byte("another"))
	if err := f.Cache.Link(t.Context(), wrong, int64(len(raw)), file); !errors.Is(err, oci.ErrCorrupt) {
		t.Errorf("under a wrong digest: %v", err)
	}
	if left := cachetest.Files(t, f.Dir, "blobs", "*", "*", wrong.Encoded()); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if err := f.Cache.CheckAccounts(); err != nil {
		t.Error(err)
	}
}

// Links are evicted for and counted like other files.
func TestLinkEvicts(t *testing.T) {
	f := start(t, new(ocitest.Fake), func(o *cachetest.Options) { o.Cache.Limits.MaxSize = 1 << 20 })
	old := mustPut(t, f, content(900_000, 1))
	raw := content(900_000, 2)
	if err := f.Cache.Link(t.Context(), oci.FromBytes(raw), int64(len(raw)), openFile(t, f.Dir, raw)); err != nil {
		t.Fatal(err)
	}
	if missing, release := f.Cache.Hold(old); len(missing) == 0 {
		release()
		t.Error("nothing was evicted")
	}
	large := content(2<<20, 3)
	err := f.Cache.Link(t.Context(), oci.FromBytes(large), int64(len(large)), openFile(t, f.Dir, large))
	if !errors.Is(err, cache.ErrNoSpace) {
		t.Errorf("one that is larger than the cache: %v", err)
	}
	if err := f.Cache.CheckAccounts(); err != nil {
		t.Error(err)
	}
}

// openFile returns a new file beside the cache, open for reading.
func openFile(t *testing.T, dir string, raw []byte) *os.File {
	t.Helper()
	path := filepath.Join(dir, "foreign")
	_ = os.Remove(path)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func same(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(first, second)
}
