package index

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/test/smalldisk"
)

// When the disk fills up, writes fail, but neither they nor Close nor the next Open
// end the process.
func TestFullDisk(t *testing.T) {
	dir := smalldisk.Mount(t, "", "size=120m")
	path := filepath.Join(dir, "index")
	ix, err := Open(path, Options{})
	check(t, err)
	check(t, ix.PutBlobs(blob(1)))
	hog := filepath.Join(dir, "hog")
	fillDisk(t, hog)
	for range 1000 {
		if err := ix.PutBlobs(blob(2)); !errors.Is(err, ErrFull) {
			t.Fatalf("put on a full disk: %v", err)
		}
	}
	left := ix.db
	check(t, ix.Close())
	damaged := func(err error) { t.Errorf("quarantined on a full disk: %v", err) }
	ix, err = OpenOrReset(path, Options{Damaged: damaged})
	check(t, err)
	if err := ix.PutBlobs(blob(3)); !errors.Is(err, ErrFull) {
		t.Errorf("put into an index that could not be opened: %v", err)
	}
	wantCopy(t, ix, blob(1))
	check(t, os.Remove(hog))
	check(t, left.Close()) // in place of the end of the process: its goroutines end here
	check(t, ix.PutBlobs(blob(4)))
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(4).Digest: blob(4)})
	closeIndex(t, ix)
}

// The same holds on a disk that is read-only at start-up.
func TestReadOnlyDisk(t *testing.T) {
	dir := smalldisk.Mount(t, "", "size=120m")
	path := filepath.Join(dir, "index")
	ix := open(t, path)
	check(t, ix.PutBlobs(blob(1)))
	closeIndex(t, ix)
	smalldisk.Remount(t, dir, "ro")
	ix, err := OpenOrReset(path, Options{})
	check(t, err)
	if err := ix.PutBlobs(blob(2)); !errors.Is(err, errDisk) {
		t.Errorf("put on a read-only disk: %v", err)
	}
	wantCopy(t, ix, blob(1))
	smalldisk.Remount(t, dir, "rw")
	check(t, ix.PutBlobs(blob(2)))
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(2).Digest: blob(2)})
	closeIndex(t, ix)
}

// wantCopy checks that ix, whose database is not open, reads those records from a
// copy and then fails with the reason.
func wantCopy(t *testing.T, ix *Index, want ...cache.BlobRecord) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var got []cache.BlobRecord
	var last error
	for record, err := range ix.Blobs() {
		if last = err; err == nil {
			got = append(got, record)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(last, errDisk) {
		t.Errorf("read with %v at the end (-want +got):\n%s", last, diff)
	}
	for range ix.Blobs() {
		break // a reader that stops early leaves no copy either
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The database of a killed process is read on a read-only disk, too, which badger
// itself cannot do.
func TestReadOnlyDiskAfterAKill(t *testing.T) {
	dir := smalldisk.Mount(t, "", "size=200m")
	path, killed := filepath.Join(dir, "index"), filepath.Join(dir, "killed")
	ix := open(t, path)
	check(t, ix.PutBlobs(blob(1)))
	check(t, os.CopyFS(killed, os.DirFS(path)))
	closeIndex(t, ix)
	smalldisk.Remount(t, dir, "ro")
	ix, err := OpenOrReset(killed, Options{})
	check(t, err)
	wantCopy(t, ix, blob(1))
	closeIndex(t, ix)
	ix, err = OpenOrReset(filepath.Join(dir, "absent"), Options{})
	check(t, err)
	wantCopy(t, ix)
	closeIndex(t, ix)
}

// fillDisk writes to path until the disk is full.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for piece := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(piece)
	}
}
