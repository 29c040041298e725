// Package disk keeps blobs as files in a directory:
//
//	<dir>/blobs/<algorithm>/<first two hex digits>/<hex>
//
// A file there is whole, verified and synced: it comes by rename only.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

var _ cache.Store = (*Store)(nil)

const (
	dirMode  = 0o750
	blobMode = 0o640
)

// Store is a cache.Store in a directory. Methods may be called concurrently.
type Store struct {
	root string // <dir>/blobs

	// mu guards linked and serialises the making of directories, so that no Put
	// returns before the directories above its blob are durable. Held over I/O
	// only at the first Put into each directory.
	mu     sync.Mutex
	linked map[string]bool // leaf directories whose own names were synced by this Store
}

// Open returns the Store in dir, which is created when it is absent.
func Open(dir string) (*Store, error) {
	root := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(root, dirMode); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	return &Store{root: root, linked: make(map[string]bool)}, nil
}

// Open returns the blob d as the *os.File that it is, so that the kernel can
// send it. It fails with fs.ErrNotExist when d is not kept.
func (s *Store) Open(_ context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Put keeps the content of f as d and renames f, which must lie on the same
// file system. After an error f still has its name, unless the last sync was
// what failed: then the blob is in place and may not survive a power failure.
func (s *Store) Put(_ context.Context, d oci.Digest, f *os.File) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("put blob: %w", err)
	}
	if err := s.place(path, f); err != nil {
		return fmt.Errorf("put blob %s: %w", d, err)
	}
	return nil
}

func (s *Store) place(path string, f *os.File) error {
	if err := f.Chmod(blobMode); err != nil {
		return err
	}
	// Before the rename: a name must never be durable before its bytes.
	if err := f.Sync(); err != nil {
		return err
	}
	leaf := filepath.Dir(path)
	if err := s.makeLeaf(leaf); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(leaf)
}

// Remove unlinks d. It does not sync: a file that a power failure brings back
// is adopted like any other.
func (s *Store) Remove(_ context.Context, d oci.Digest) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("remove blob: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove blob: %w", err)
	}
	return nil
}

// Free returns how many bytes an unprivileged user may still write.
func (s *Store) Free() (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(s.root, &stat); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.root, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}

// path is where d lies. A digest that is not valid has no place, so nothing
// that a digest says can lead out of root.
func (s *Store) path(d oci.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", string(d), err)
	}
	hex := d.Encoded()
	return filepath.Join(s.root, d.Algorithm().String(), hex[:2], hex), nil
}

// makeLeaf makes leaf and the directory above it, and syncs their names when
// this Store has not done so or when somebody has removed them meanwhile.
func (s *Store) makeLeaf(leaf string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	algorithm := filepath.Dir(leaf)
	newAlgorithm, err := makeDir(algorithm)
	if err != nil {
		return err
	}
	newLeaf, err := makeDir(leaf)
	if err != nil {
		return err
	}
	if s.linked[leaf] && !newLeaf && !newAlgorithm {
		return nil
	}
	delete(s.linked, leaf)
	if err := errors.Join(syncDir(algorithm), syncDir(s.root)); err != nil {
		return err
	}
	s.linked[leaf] = true
	return nil
}

// makeDir reports whether it was made now.
func makeDir(dir string) (bool, error) {
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
