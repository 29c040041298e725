package index

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mirrord/internal/oci"
)

// A disk that fills up under the index makes its writes fail, and neither them
// nor the close nor the next open end the process.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system to be had here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	ix, err := Open(filepath.Join(dir, "index"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ix.PutBlobs(blob(1)); err != nil {
		t.Fatal(err)
	}
	hog := filepath.Join(dir, "hog")
	fillDisk(t, hog)
	for range 1000 {
		if err := ix.PutBlobs(blob(2)); !errors.Is(err, ErrFull) {
			t.Fatalf("put on a full disk: %v", err)
		}
	}
	if err := ix.Close(); err != nil {
		t.Errorf("close on a full disk: %v", err)
	}
	if _, rebuilt, err := OpenOrReset(filepath.Join(dir, "index"), Options{}); !errors.Is(err, ErrFull) || rebuilt != nil {
		t.Errorf("open on a full disk: %v, %v", rebuilt, err)
	}
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	if err := ix.db.Close(); err != nil { // the process would have ended; its goroutines end here
		t.Fatal(err)
	}
	ix, err = Open(filepath.Join(dir, "index"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var kept []oci.Digest
	for r, err := range ix.Blobs() {
		if err != nil {
			t.Error(err)
		}
		kept = append(kept, r.Digest)
	}
	if len(kept) != 1 || kept[0] != blob(1).Digest {
		t.Errorf("kept %v", kept)
	}
	if err := ix.Close(); err != nil {
		t.Error(err)
	}
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
