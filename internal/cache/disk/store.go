// Package disk stores blobs as files in a directory:
//
//	<dir>/blobs/<algorithm>/<first two hex digits>/<hex>
//
// A file there is complete, verified and synced, because it is created by rename.
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

var (
	_ cache.Store  = (*Store)(nil)
	_ cache.Linker = (*Store)(nil)
)

const (
	dirMode  = 0o750
	blobMode = 0o640
)

// Store is a cache.Store in a directory. Methods may be called concurrently.
type Store struct {
	root string // <dir>/blobs

	// mu guards durable and serialises the creation of directories, so that no Put
	// returns before the directories above its blob are durable. It is held during I/O
	// only for the first Put into each directory.
	mu      sync.Mutex
	durable map[string]bool // leaf directories whose names this Store has synced
}

// Open returns the Store in dir, which it creates if absent. dir/blobs may be a link
// to a directory, for example on another disk; Open fails with ErrNotDirectory when it
// is something else. On a read-only disk without blobs the Store is empty.
func Open(dir string) (*Store, error) {
	root := filepath.Join(dir, "blobs")
	if err := MakeDir(root); err != nil && !errors.Is(err, unix.EROFS) {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if err := syncDir(dir); err != nil && !errors.Is(err, unix.EROFS) { // it can be read all the same
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	if target, err := filepath.EvalSymlinks(root); err == nil {
		root = target // a walk does not follow a link at its root
	}
	if err := checkLinks(root); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	return &Store{root: root, durable: make(map[string]bool)}, nil
}

// Open returns the blob d as an *os.File, so that the kernel can send it. It fails
// with fs.ErrNotExist when d is not stored, also if something other than a regular
// file is in its place.
func (s *Store) Open(_ context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	path, err := s.path(d)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	// Neither wait for the writer of a pipe nor follow a link.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTDIR) {
		err = fmt.Errorf("%w: %s is not a regular file", fs.ErrNotExist, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", fs.ErrNotExist, path)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Put stores the content of f as d by renaming f, which must be on the same file
// system. After an error f still has its name, unless the last sync failed: then the
// blob is in place but may not survive a power failure.
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
	// Sync before the rename: the name must not become durable before the bytes.
	if err := f.Sync(); err != nil {
		return err
	}
	leaf := filepath.Dir(path)
	if err := s.makeLeaf(leaf); err != nil {
		return err
	}
	if err := replace(f.Name(), path); err != nil {
		return err
	}
	return syncDir(leaf)
}

// Link stores the file f as d by a hard link to the very file that is open, whatever its
// name leads to by now. The file keeps its mode and owner.
func (s *Store) Link(_ context.Context, d oci.Digest, f *os.File) error {
	path, err := s.path(d)
	if err != nil {
		return fmt.Errorf("link blob: %w", err)
	}
	if err := s.link(path, f); err != nil {
		return fmt.Errorf("link blob %s: %w", d, err)
	}
	return nil
}

func (s *Store) link(path string, f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	leaf := filepath.Dir(path)
	if err := s.makeLeaf(leaf); err != nil {
		return err
	}
	open := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, open, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	return syncDir(leaf)
}

// replace renames from to to, and removes a directory in the place of to.
func replace(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// Remove unlinks d. It does not sync: a file that reappears after a power failure is
// adopted like any other.
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

// Discard removes a stray that All has reported.
func (s *Store) Discard(_ context.Context, stray string) error {
	if !filepath.IsLocal(stray) {
		return fmt.Errorf("remove stray %q: it is not in the blob directory", stray)
	}
	if err := os.RemoveAll(filepath.Join(s.root, stray)); err != nil {
		return fmt.Errorf("remove stray: %w", err)
	}
	return nil
}

// Free returns how many bytes are available to an unprivileged user.
func (s *Store) Free() (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(s.root, &stat); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", s.root, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}

// path returns the path of d. It fails for an invalid digest, so no digest can lead
// out of root.
func (s *Store) path(d oci.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("digest %q: %w", string(d), err)
	}
	hex := d.Encoded()
	return filepath.Join(s.root, d.Algorithm().String(), hex[:2], hex), nil
}

// makeLeaf creates leaf and the directories above it, and syncs their names unless
// this Store has done so and they have not been removed since.
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
	if s.durable[leaf] && !newLeaf && !newAlgorithm && !newRoot {
		return nil
	}
	delete(s.durable, leaf)
	err = errors.Join(syncDir(algorithm), syncDir(s.root))
	if newRoot {
		err = errors.Join(err, syncDir(filepath.Dir(s.root)))
	}
	if err != nil {
		return err
	}
	s.durable[leaf] = true
	return nil
}

// makeDir creates dir if it is absent and reports whether it did. It removes anything
// else that is in its place.
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
