package disk

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/cache"
)

// All yields all blobs, and as strays all other files: those without the name of a
// blob, in the wrong place, or not regular. Empty directories are skipped. For a
// directory that cannot be read it yields an error and continues without its blobs;
// when ctx ends it yields a last error. It holds the names of one directory in memory
// at a time.
func (s *Store) All(ctx context.Context) iter.Seq2[cache.Blob, error] {
	return func(yield func(cache.Blob, error) bool) {
		visit := func(path string, entry fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				yield(cache.Blob{}, ctx.Err())
				return fs.SkipAll
			}
			var blob cache.Blob
			if err == nil {
				blob, err = s.blob(path, entry)
			}
			gone := errors.Is(err, fs.ErrNotExist) && path != s.root
			if gone || err == nil && blob == (cache.Blob{}) || yield(blob, err) {
				return nil
			}
			return fs.SkipAll
		}
		_ = filepath.WalkDir(s.root, visit) // visit yields every error
	}
}

// blob returns entry as a blob or a stray, or the zero Blob for a directory.
func (s *Store) blob(path string, entry fs.DirEntry) (cache.Blob, error) {
	if entry.IsDir() {
		return cache.Blob{}, nil
	}
	algorithm := filepath.Base(filepath.Dir(filepath.Dir(path)))
	d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), filepath.Base(path))
	if right, err := s.path(d); err != nil || right != path || !entry.Type().IsRegular() {
		name, err := filepath.Rel(s.root, path)
		return cache.Blob{Stray: name}, err
	}
	info, err := entry.Info()
	if err != nil {
		return cache.Blob{}, err
	}
	return cache.Blob{Digest: d, Size: info.Size(), ModTime: info.ModTime()}, nil
}
