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

// All yields every blob, and as a stray what is not a plain file with a blob's
// name in the place of that blob; directories that lead to no file are passed
// over. A directory that cannot be read is told as an error, its blobs are
// missing, and the walk goes on; the end of ctx is told as the last error. It
// holds the names of one directory in memory at a time.
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
		_ = filepath.WalkDir(s.root, visit) // visit tells every error
	}
}

// blob returns the blob or the stray that entry is, or zero for a directory.
func (s *Store) blob(path string, entry fs.DirEntry) (cache.Blob, error) {
	if entry.IsDir() {
		return cache.Blob{}, nil
	}
	algorithm := filepath.Base(filepath.Dir(filepath.Dir(path)))
	d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), filepath.Base(path))
	if place, err := s.path(d); err != nil || place != path || !entry.Type().IsRegular() {
		name, err := filepath.Rel(s.root, path)
		return cache.Blob{Stray: name}, err
	}
	info, err := entry.Info()
	if err != nil {
		return cache.Blob{}, err
	}
	return cache.Blob{Digest: d, Size: info.Size(), ModTime: info.ModTime()}, nil
}
