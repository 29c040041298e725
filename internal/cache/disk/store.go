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

// Open returns the Store in dir, which is created when it is absent. blobs may be
// a link to a directory, on another disk for instance; what is neither is
// ErrNotDirectory. A read-only disk without one is an empty Store.
func Open(dir string) (*Store, error) {
	root := filepath.Join(dir, "blobs")
	if err := MakeDir(root); err != nil && !errors.Is(err, unix.EROFS) {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if err := syncDir(dir); err != nil && !errors.Is(err, unix.EROFS) { // which keeps nobody from reading
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if target, err := filepath.EvalSymlinks(root); err == nil {
		root = target // a walk does not begin at a link
	}
	if err := checkLinks(root); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	return &Store{root: root, linked: make(map[string]bool)}, nil
}

// Open returns the blob d as the *os.File that it is, so that the kernel can
// send it. It fails with fs.ErrNotExist when d is not kept: what lies in its
// place and is no plain file is not it.
func (s *Store) Open(_ context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	// A pipe does not keep the caller waiting, a link leads nowhere.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w: %s is no plain file", fs.ErrNotExist, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is no plain file", fs.ErrNotExist, path)
	}
	if err != nil {
		_ = f.Close()
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
	if err := moveInto(f.Name(), path); err != nil {
		return err
	}
	return syncDir(leaf)
}

// moveInto renames, also to where a directory has no business to be.
func moveInto(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove unlinks d. It does not sync: a file that a power failure brings back
// is adopted like any other.
func (s *Store) Remove(_ context.Context, d oci.Digest) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("remove blob: %w", err)
	}
	if err := os.RemoveAll(path); err != nil && !errors.Is(err, unix.ENOTDIR) { // it may be a directory
		return fmt.Errorf("remove blob: %w", err)
	}
	return nil
}

// Discard removes what All has told of as a stray.
func (s *Store) Discard(_ context.Context, stray string) error {
	if !filepath.IsLocal(stray) {
		return fmt.Errorf("remove stray %q: it is not in the blob directory", stray)
	}
	if err := os.RemoveAll(filepath.Join(s.root, stray)); err != nil {
		return fmt.Errorf("remove stray: %w", err)
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
	_, err := os.Stat(s.root)
	newRoot := errors.Is(err, fs.ErrNotExist)
	if err := MakeDir(s.root); err != nil {
		return err
	}
	newAlgorithm, err := makeDir(algorithm)
	if err != nil {
		return err
	}
	newLeaf, err := makeDir(leaf)
	if err != nil {
		return err
	}
	if s.linked[leaf] && !newLeaf && !newAlgorithm && !newRoot {
		return nil
	}
	delete(s.linked, leaf)
	err = errors.Join(syncDir(algorithm), syncDir(s.root))
	if newRoot {
		err = errors.Join(err, syncDir(filepath.Dir(s.root)))
	}
	if err != nil {
		return err
	}
	s.linked[leaf] = true
	return nil
}

// makeDir reports whether it was made now. What is in its place and is no
// directory gives way.
func makeDir(dir string) (bool, error) {
	err := os.Mkdir(dir, dirMode)
	if errors.Is(err, fs.ErrExist) {
		if info, err := os.Lstat(dir); err != nil || info.IsDir() {
			return false, err
		}
		err = errors.Join(os.Remove(dir), os.Mkdir(dir, dirMode))
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
