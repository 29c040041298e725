package index

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/smalldisk"
)

// A disk that fills up under the index makes its writes fail, and neither them
// nor the close nor the next open end the process.
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
	damaged := func(err error) { t.Errorf("set aside on a full disk: %v", err) }
	ix, err = OpenOrReset(path, Options{Damaged: damaged})
	check(t, err)
	if err := ix.PutBlobs(blob(3)); !errors.Is(err, ErrFull) {
		t.Errorf("put into an index that could not be opened: %v", err)
	}
	for _, err := range ix.Blobs() {
		if !errors.Is(err, ErrFull) {
			t.Errorf("read from an index that could not be opened: %v", err)
		}
	}
	check(t, os.Remove(hog))
	check(t, left.Close()) // the process would have ended; its goroutines end here
	check(t, ix.PutBlobs(blob(4)))
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(4).Digest: blob(4)})
	closeIndex(t, ix)
}

// On a disk that is read-only at the start, the same.
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
	smalldisk.Remount(t, dir, "rw")
	check(t, ix.PutBlobs(blob(2)))
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(2).Digest: blob(2)})
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
