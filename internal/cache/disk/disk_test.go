package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/storetest"
	"mirrord/internal/oci"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (cache.Store, func() *os.File) {
		dir := t.TempDir()
		return open(t, dir), func() *os.File { return temp(t, dir) }
	})
}

func open(t *testing.T, dir string) *disk.Store {
	t.Helper()
	store, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func temp(t *testing.T, dir string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(dir, "fill-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func put(t *testing.T, store *disk.Store, dir, content string) oci.Digest {
	t.Helper()
	f := temp(t, dir)
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	d := digest.FromString(content)
	if err := store.Put(t.Context(), d, f); err != nil {
		t.Fatal(err)
	}
	return d
}

func place(dir string, d oci.Digest) string {
	return filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	d := put(t, store, dir, "content")
	info, err := os.Stat(place(dir, d))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode %v, want 0640", info.Mode())
	}
	body, err := store.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, ok := body.(*os.File); !ok {
		t.Errorf("Open returns a %T: sendfile needs the *os.File", body)
	}
}

func TestReopened(t *testing.T) {
	dir := t.TempDir()
	d := put(t, open(t, dir), dir, "content")
	body, err := open(t, dir).Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	_ = body.Close()
}

func TestInvalidDigest(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "blobs", "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []oci.Digest{"", "sha256:", "sha256:ab", "sha256:../../secret", "../x:aa", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		if body, err := store.Open(t.Context(), d); err == nil || body != nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %q: %v, %v", d, body, err)
		}
		if err := store.Remove(t.Context(), d); err == nil {
			t.Errorf("remove %q: no error", d)
		}
		f := temp(t, dir)
		if err := store.Put(t.Context(), d, f); err == nil {
			t.Errorf("put %q: no error", d)
		}
		if _, err := os.Stat(f.Name()); err != nil {
			t.Errorf("put %q took the file: %v", d, err)
		}
	}
}

func TestAllYieldsStrays(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	d := put(t, store, dir, "content")
	other := digest.FromString("other")
	for _, name := range []string{
		"README",
		"sha256/README",
		"sha256/" + other.Encoded()[:2] + "/README",
		"sha256/" + other.Encoded()[:2] + "/" + other.Encoded() + ".tmp",
		"sha256/zz/" + other.Encoded(), // the wrong directory
		"sha256/" + other.Encoded(),    // one level too high
		"md5/d4/d41d8cd98f00b204e9800998ecf8427e",
		"lost+found/x/y/z",
	} {
		path := filepath.Join(dir, "blobs", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := place(dir, other)
	if err := os.Symlink(place(dir, d), link); err != nil {
		t.Fatal(err)
	}
	if got, strays := all(t, store); len(got) != 1 || got[0] != d || len(strays) != 9 {
		t.Errorf("all yields %v and the strays %q, want %s alone and 9", got, strays, d)
	}
}

func all(t *testing.T, store *disk.Store) (got []oci.Digest, strays []string) {
	t.Helper()
	for blob, err := range store.All(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case blob.Stray != "":
			strays = append(strays, blob.Stray)
		default:
			got = append(got, blob.Digest)
		}
	}
	return got, strays
}

// Discard removes strays and nothing else.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	d := put(t, store, dir, "content")
	for _, name := range []string{"README", "sha256/README"} {
		if err := os.WriteFile(filepath.Join(dir, "blobs", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, strays := all(t, store)
	for _, stray := range append(strays, "absent") {
		if err := store.Discard(t.Context(), stray); err != nil {
			t.Error(err)
		}
	}
	if err := store.Discard(t.Context(), "../../etc"); err == nil {
		t.Error("it has removed something outside its directory")
	}
	if got, strays := all(t, store); len(got) != 1 || got[0] != d || len(strays) != 0 {
		t.Errorf("left behind: %v and the strays %q", got, strays)
	}
}

// Something other than a regular file in the place of a blob is not opened, does not
// block, and is replaced or removed.
func TestNotARegularFile(t *testing.T) {
	for name, lay := range map[string]func(path string) error{
		"directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "below"), 0o750) },
		"link":      func(path string) error { return os.Symlink("/etc/hostname", path) },
		"dead link": func(path string) error { return os.Symlink("absent", path) },
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := open(t, dir)
			d := put(t, store, dir, "content")
			for _, way := range []func(){
				func() { put(t, store, dir, "content") },
				func() {
					if err := store.Remove(t.Context(), d); err != nil {
						t.Error(err)
					}
				},
			} {
				if err := errors.Join(os.RemoveAll(place(dir, d)), lay(place(dir, d))); err != nil {
					t.Fatal(err)
				}
				if _, err := store.Open(t.Context(), d); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("open: %v, want fs.ErrNotExist", err)
				}
				way()
			}
			if _, err := os.Lstat(place(dir, d)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the removal: %v", err)
			}
		})
	}
}

func TestAllReportsMissingRoot(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	if err := os.Remove(filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range store.All(t.Context()) {
		got = err
	}
	if !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("all without its directory: %v, want fs.ErrNotExist", got)
	}
}

func TestPutAfterDirectoriesWereRemoved(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	put(t, store, dir, "content")
	d := digest.FromString("content")
	for _, gone := range []string{filepath.Dir(place(dir, d)), filepath.Join(dir, "blobs", "sha256"), filepath.Join(dir, "blobs")} {
		if err := os.RemoveAll(gone); err != nil {
			t.Fatal(err)
		}
		put(t, store, dir, "content")
		if filepath.Base(gone) == "blobs" {
			continue // a file in place of this one is never removed
		}
		if err := errors.Join(os.RemoveAll(gone), os.WriteFile(gone, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		put(t, store, dir, "content")
	}
}

func TestFree(t *testing.T) {
	free, err := open(t, t.TempDir()).Free()
	if err != nil || free <= 0 {
		t.Errorf("free: %d, %v", free, err)
	}
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("open a file as a directory: %v", err)
	}
}
