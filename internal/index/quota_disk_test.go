package index

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/test/smalldisk"
)

// Neither the free space nor creating an empty file shows a quota. Badger's memory
// maps of sparse files would end the process with SIGBUS, at every start.
func TestQuota(t *testing.T) {
	dir := smalldisk.Quota(t, 100)
	path := filepath.Join(dir, "index")
	ix, err := Open(path, Options{})
	check(t, err)
	check(t, ix.PutBlobs(blob(1)))
	hog := filepath.Join(dir, "hog")
	check(t, os.WriteFile(hog, make([]byte, 80<<20), 0o600)) // an empty file can be created
	for range 100 {
		if err := ix.PutBlobs(blob(2)); !errors.Is(err, ErrFull) || !errors.Is(err, unix.EDQUOT) {
			t.Fatalf("put over a quota: %v", err)
		}
	}
	left := ix.db
	check(t, ix.Close())
	check(t, os.Remove(hog))
	check(t, left.Close()) // in place of the end of the process
	fillDisk(t, hog)       // now not even an empty one
	ix, err = Open(path, Options{})
	check(t, err)
	if err := ix.PutBlobs(blob(3)); !errors.Is(err, ErrFull) {
		t.Errorf("put into an index that could not be opened: %v", err)
	}
	check(t, os.Remove(hog))
	check(t, ix.PutBlobs(blob(4)))
	want(t, blobs(t, ix), map[oci.Digest]cache.BlobRecord{blob(1).Digest: blob(1), blob(4).Digest: blob(4)})
	closeIndex(t, ix)
}

// On a file system that cannot allocate, start-up writes a file, and each write to
// the index trusts the free space.
func TestNoFallocate(t *testing.T) {
	dir := smalldisk.Image(t, "ext3")
	path := filepath.Join(dir, "index")
	ix, err := Open(path, Options{})
	check(t, err)
	check(t, ix.PutBlobs(blob(1)))
	fillDisk(t, filepath.Join(dir, "hog"))
	if err := ix.PutBlobs(blob(2)); !errors.Is(err, ErrFull) {
		t.Errorf("put on a full disk: %v", err)
	}
	if err := checkDisk(path, fill); !errors.Is(err, ErrFull) {
		t.Errorf("fill a full disk: %v", err)
	}
	check(t, os.Remove(filepath.Join(dir, "hog")))
	check(t, checkDisk(path, fill))
	check(t, ix.PutBlobs(blob(2)))
	f, err := os.Create(filepath.Join(dir, "hog"))
	check(t, err)
	check(t, fill(f))
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != minFree {
		t.Errorf("%d bytes were written, %v", at, err)
	}
	check(t, f.Close())
	closeIndex(t, ix)
}

// A file that a kill left in the middle of a probe is removed at the next start.
func TestProbesAreRemoved(t *testing.T) {
	dir := filled(t)
	for i := range 3 {
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("probe-", i)), nil, 0o600))
	}
	ix := open(t, dir)
	check(t, ix.PutBlobs(blob(3)))
	left, err := filepath.Glob(filepath.Join(dir, "probe-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	closeIndex(t, ix)
}
