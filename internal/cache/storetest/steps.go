package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// large returns n pseudo-random bytes that depend only on n.
func large(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(p) // it cannot fail
	return p
}

// file returns a file with that content, as a fill creates it.
func (s *suite) file(content []byte) *os.File {
	s.Helper()
	f := s.temp()
	s.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(content); err != nil {
		s.Fatal(err)
	}
	return f
}

func (s *suite) put(d oci.Digest, content []byte) {
	s.Helper()
	f := s.file(content)
	if err := s.store.Put(s.Context(), d, f); err != nil {
		s.Fatalf("put: %v", err)
	}
	if err := f.Close(); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) open(d oci.Digest) io.ReadSeekCloser {
	s.Helper()
	r, err := s.store.Open(s.Context(), d)
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.Cleanup(func() { _ = r.Close() })
	return r
}

func (s *suite) want(d oci.Digest, content []byte) {
	s.Helper()
	r := s.open(d)
	s.wantRest(r, content)
	if err := r.Close(); err != nil {
		s.Errorf("close: %v", err)
	}
}

func (s *suite) wantRest(r io.Reader, content []byte) {
	s.Helper()
	got, err := io.ReadAll(r)
	if err != nil {
		s.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, content) {
		s.Errorf("read %d bytes that differ from the %d expected", len(got), len(content))
	}
}

func (s *suite) wantAbsent(d oci.Digest) {
	s.Helper()
	r, err := s.store.Open(s.Context(), d)
	if err == nil {
		_ = r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("open an absent blob: %v, want fs.ErrNotExist", err)
	}
}

func (s *suite) collect() map[oci.Digest]cache.Blob {
	s.Helper()
	blobs := make(map[oci.Digest]cache.Blob)
	for blob, err := range s.store.All(s.Context()) {
		if err != nil {
			s.Fatalf("all: %v", err)
		}
		if _, twice := blobs[blob.Digest]; twice {
			s.Errorf("all yields %s twice", blob.Digest)
		}
		blobs[blob.Digest] = blob
	}
	return blobs
}
