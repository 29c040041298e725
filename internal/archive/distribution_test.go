package archive_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// registry is a directory as distribution writes it.
type registry struct {
	*testing.T
	dir string
}

func newRegistry(t *testing.T) registry { return registry{t, t.TempDir()} }

func (r registry) write(raw []byte, name ...string) string {
	r.Helper()
	path := filepath.Join(append([]string{r.dir, "docker/registry/v2"}, name...)...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		r.Fatal(err)
	}
	return path
}

func (r registry) blob(raw []byte) string {
	hex := oci.FromBytes(raw).Encoded()
	return r.write(raw, "blobs/sha256", hex[:2], hex, "data")
}

func (r registry) manifest(repository, tag string, raw []byte) {
	d := oci.FromBytes(raw)
	r.blob(raw)
	r.write([]byte(d), "repositories", repository, "_manifests/revisions/sha256", d.Encoded(), "link")
	if tag == "" {
		return
	}
	r.write([]byte(d), "repositories", repository, "_manifests/tags", tag, "index/sha256", d.Encoded(), "link")
	link := r.write([]byte(d), "repositories", repository, "_manifests/tags", tag, "current/link")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(link, old, old); err != nil {
		r.Fatal(err)
	}
}

func (r registry) importInto(f *cachetest.Fixture) (archive.Summary, error) {
	return archive.ImportDirectory(r.Context(), r.dir, upstream, f.Cache, f.Registry, archive.ImportOptions{})
}

func TestImportDirectory(t *testing.T) {
	r := newRegistry(t)
	s := newSample(t, "app")
	var files []string
	for _, raw := range s.blobs[:2] {
		files = append(files, r.blob(raw))
	}
	r.manifest("library/app", "1", s.index)
	r.manifest("library/app", "", s.amd64)
	writable := image(t, []byte("{}"), []byte("writable by others"))
	r.blob([]byte("{}"))
	if err := os.Chmod(r.blob([]byte("writable by others")), 0o666); err != nil {
		t.Fatal(err)
	}
	r.manifest("org/team/other", "v1", writable)
	r.write([]byte("{}"), "scheduler-state.json")

	f := start(t)
	sum, err := r.importInto(f)
	if err != nil || sum.Failed() > 0 || sum.Blobs != 7 || sum.Linked != 6 || len(sum.Images) != 2 {
		t.Fatalf("%+v, %v", sum, err)
	}
	f.Fake.Fail(cachetest.Down)
	f.MustRead(t, mustParse(t, "docker.io/library/app:1"), s.index, oci.Stale)
	f.MustRead(t, mustParse(t, "docker.io/org/team/other:v1"), writable, oci.Stale)
	f.MustRead(t, ocitest.BlobRef(t, oci.FromBytes(s.blobs[1])), s.blobs[1], oci.Hit)
	for _, file := range files {
		stored := cachetest.Files(t, f.Dir, "blobs/sha256", "*", filepath.Base(filepath.Dir(file)))
		if len(stored) != 1 || !sameFile(t, stored[0], file) {
			t.Errorf("%s was not linked", file)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the registry's file has changed: %v, %v", info.Mode(), err)
		}
	}
	if sum, err = r.importInto(f); err != nil || sum.Blobs != 0 || sum.Failed() > 0 {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	first, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// What is damaged, or leads out of the directory, is left out; the rest is imported.
func TestHostileDirectory(t *testing.T) {
	r := newRegistry(t)
	s := newSample(t, "app")
	r.blob(s.blobs[0])
	damaged := r.blob(s.blobs[1])
	if err := os.WriteFile(damaged, bytes.Repeat([]byte("x"), len(s.blobs[1])), 0o644); err != nil {
		t.Fatal(err)
	}
	r.manifest("library/app", "1", s.index)
	r.manifest("library/app", "", s.amd64)
	r.write([]byte("no digest"), "repositories/library/app/_manifests/tags/bad/current/link")
	r.write([]byte(oci.FromBytes(s.index)), "repositories/Library/_manifests/tags/1/current/link")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := oci.FromBytes([]byte("secret"))
	escaping := r.blob([]byte("secret"))
	if err := errors.Join(os.Remove(escaping), os.Symlink(secret, escaping)); err != nil {
		t.Fatal(err)
	}
	r.manifest("library/thief", "1", image(t, []byte("secret")))

	f := start(t)
	_, err := r.importInto(f)
	if err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link that leads out of the directory: %v", err)
	}
	if missing, release := f.Cache.Hold(d); len(missing) == 0 {
		release()
		t.Error("it was followed")
	}
	if err := os.Remove(escaping); err != nil {
		t.Fatal(err)
	}
	sum, err := r.importInto(f)
	if err != nil || sum.Damaged != 1 || sum.Failed() != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, ok := f.Known(mustParse(t, "docker.io/library/app:1")); !ok {
		t.Error("an image whose layer is damaged was not tagged: its layer can be fetched")
	}
}

func TestNotRegistry(t *testing.T) {
	f := start(t)
	_, err := archive.ImportDirectory(t.Context(), t.TempDir(), upstream, f.Cache, f.Registry, archive.ImportOptions{})
	if !errors.Is(err, archive.ErrNotRegistry) {
		t.Errorf("%v", err)
	}
	if _, err := archive.ImportDirectory(t.Context(), filepath.Join(t.TempDir(), "absent"), upstream, f.Cache, f.Registry, archive.ImportOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
