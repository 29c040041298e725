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

// A quota shows neither in the free space nor to who makes an empty file. Badger's
// maps of sparse files would end the process by SIGBUS, and again at each start.
func TestQuota(t *testing.T) {
	dir := smalldisk.Quota(t, 100)
	path := filepath.Join(dir, "index")
	ix, err := Open(path, Options{})
	check(t, err)
	check(t, ix.PutBlobs(blob(1)))
	hog := filepath.Join(dir, "hog")
	check(t, os.WriteFile(hog, make([]byte, 80<<20), 0o600)) // an empty file can be made
	for range 100 {
		if err := ix.PutBlobs(blob(2)); !errors.Is(err, ErrFull) || !errors.Is(err, unix.EDQUOT) {
			t.Fatalf("put over a quota: %v", err)
		}
	}
	left := ix.db
	check(t, ix.Close())
	check(t, os.Remove(hog))
	check(t, left.Close()) // the process would have ended
	fillDisk(t, hog)       // nor can one be made
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

// Where nothing can be allocated the start writes, and each write believes what
// the file system says.
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

// A kill between the two steps of a probe leaves a file, until the next start.
func TestProbesAreRemoved(t *testing.T) {
	dir := filled(t)
	for i := range 3 {
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("probe-", i)), nil, 0o600))
	}
	ix := open(t, dir)
	check(t, ix.PutBlobs(blob(3)))
	left, err := filepath.Glob(filepath.Join(dir, "probe-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	closeIndex(t, ix)
}
