package fleetsim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"sync"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// shelf is the disk of a mirror. All mirrors share the bytes of an image, so that a thousand
// of them need no more memory than one. It finds out whether the bytes are right.
type shelf struct {
	image *image

	mu  sync.Mutex // guards has
	has map[oci.Digest]bool
}

func newShelf(img *image) *shelf { return &shelf{image: img, has: make(map[oci.Digest]bool)} }

// Open is of the interface.
func (s *shelf) Open(_ context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has[d] {
		return nil, fmt.Errorf("open %s: %w", d, fs.ErrNotExist)
	}
	return file{bytes.NewReader(s.image.content[d])}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// Put is of the interface.
func (s *shelf) Put(_ context.Context, d oci.Digest, f *os.File) error {
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	if err := s.image.is(d, raw); err != nil {
		return err
	}
	s.mu.Lock()
	s.has[d] = true
	s.mu.Unlock()
	return os.Remove(f.Name())
}

// Remove is of the interface.
func (s *shelf) Remove(_ context.Context, d oci.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.has, d)
	return nil
}

// All is of the interface: a mirror begins with nothing.
func (s *shelf) All(context.Context) iter.Seq2[cache.Blob, error] {
	return func(func(cache.Blob, error) bool) {}
}

// Discard is of the interface.
func (s *shelf) Discard(context.Context, string) error { return nil }
