// Package storetest is the contract suite that every cache.Store passes.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
)

// Run checks that a Store keeps the contract of cache.Store. open returns an empty
// Store for a test, and temp, which creates empty files that the Store can rename. Both
// fail the test themselves and register their cleanup with t.
func Run(t *testing.T, open func(t *testing.T) (s cache.Store, temp func() *os.File)) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"round trip", (*suite).roundTrip},
		{"put renames the file, which stays open", (*suite).renames},
		{"put replaces", (*suite).replaces},
		{"absent", (*suite).absent},
		{"remove", (*suite).remove},
		{"remove under a reader", (*suite).removeUnderReader},
		{"seek in a large blob", (*suite).seek},
		{"all", (*suite).all},
		{"all stops", (*suite).allStops},
		{"concurrent puts of one digest", (*suite).concurrentPuts},
		{"concurrent puts of many digests", (*suite).concurrentMany},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, temp := open(t)
			test.run(&suite{T: t, store: store, temp: temp})
		})
	}
}

type suite struct {
	*testing.T
	store cache.Store
	temp  func() *os.File
}

func (s *suite) roundTrip() {
	sum := sha512.Sum512([]byte("long"))
	contents := map[oci.Digest]string{
		digest.FromString("short"):                       "short",
		digest.FromString(""):                            "",
		digest.NewDigestFromBytes(digest.SHA512, sum[:]): "long",
	}
	for d, content := range contents {
		s.put(d, []byte(content))
	}
	for d, content := range contents {
		s.want(d, []byte(content))
	}
}

func (s *suite) renames() {
	f := s.file([]byte("content"))
	d := digest.FromString("content")
	if err := s.store.Put(s.Context(), d, f); err != nil {
		s.Fatal(err)
	}
	if _, err := os.Stat(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		s.Errorf("the file's own name after Put: %v, want not exist", err)
	}
	var p [7]byte
	if _, err := f.ReadAt(p[:], 0); err != nil || string(p[:]) != "content" {
		s.Errorf("the file after Put reads %q, %v", p, err)
	}
	if err := f.Close(); err != nil {
		s.Errorf("close after Put: %v", err)
	}
	s.want(d, []byte("content"))
}

func (s *suite) replaces() {
	d := digest.FromString("stored")
	s.put(d, []byte("kep")) // truncated, as by a disk failure
	r := s.open(d)
	s.put(d, []byte("stored"))
	s.want(d, []byte("stored"))
	s.wantRest(r, []byte("kep"))
	if got := s.collect(); len(got) != 1 {
		s.Errorf("%d blobs after putting one twice", len(got))
	}
}

func (s *suite) absent() {
	s.wantAbsent(digest.FromString("never put"))
	if err := s.store.Remove(s.Context(), digest.FromString("never put")); err != nil {
		s.Errorf("remove an absent blob: %v", err)
	}
	if got := s.collect(); len(got) != 0 {
		s.Errorf("an empty store yields %v", got)
	}
}

func (s *suite) remove() {
	gone, stored := digest.FromString("gone"), digest.FromString("stored")
	s.put(gone, []byte("gone"))
	s.put(stored, []byte("stored"))
	for range 2 {
		if err := s.store.Remove(s.Context(), gone); err != nil {
			s.Fatal(err)
		}
		s.wantAbsent(gone)
	}
	s.want(stored, []byte("stored"))
	s.put(gone, []byte("gone"))
	s.want(gone, []byte("gone"))
}

func (s *suite) removeUnderReader() {
	content := large(1 << 20)
	d := digest.FromBytes(content)
	s.put(d, content)
	r := s.open(d)
	head := make([]byte, 1000)
	if _, err := io.ReadFull(r, head); err != nil {
		s.Fatal(err)
	}
	if err := s.store.Remove(s.Context(), d); err != nil {
		s.Fatal(err)
	}
	s.wantAbsent(d)
	if !bytes.Equal(head, content[:1000]) {
		s.Error("the head differs")
	}
	s.wantRest(r, content[1000:])
}

func (s *suite) seek() {
	content := large(4<<20 + 17)
	d := digest.FromBytes(content)
	s.put(d, content)
	s.want(d, content)
	r := s.open(d)
	for _, seek := range []struct {
		offset int64
		whence int
		want   int64
	}{
		{3 << 20, io.SeekStart, 3 << 20},
		{-17, io.SeekEnd, 4 << 20},
		{0, io.SeekEnd, 4<<20 + 17},
		{1, io.SeekStart, 1},
	} {
		at, err := r.Seek(seek.offset, seek.whence)
		if err != nil || at != seek.want {
			s.Fatalf("seek %d, %d: %d, %v, want %d", seek.offset, seek.whence, at, err, seek.want)
		}
		part := content[at:min(at+100, int64(len(content)))]
		got := make([]byte, len(part))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, part) {
			s.Errorf("the content at %d differs: %v", at, err)
		}
	}
}

func (s *suite) all() {
	want := make(map[oci.Digest]int64)
	for i := range 50 {
		content := large(i)
		d := digest.FromBytes(content)
		s.put(d, content)
		want[d] = int64(i)
	}
	removed := digest.FromBytes(large(7))
	if err := s.store.Remove(s.Context(), removed); err != nil {
		s.Fatal(err)
	}
	delete(want, removed)
	got := s.collect()
	for d, size := range want {
		if blob, ok := got[d]; !ok || blob.Size != size || blob.ModTime.IsZero() {
			s.Errorf("all: blob %s of %d bytes is %+v, %t", d, size, blob, ok)
		}
	}
	if len(got) != len(want) {
		s.Errorf("all yields %d blobs, want %d", len(got), len(want))
	}
}

func (s *suite) allStops() {
	for i := range 10 {
		s.put(digest.FromBytes(large(i)), large(i))
	}
	seen := 0
	for _, err := range s.store.All(s.Context()) {
		if err != nil {
			s.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		s.Errorf("%d blobs before the break", seen)
	}
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	var last error
	for _, err := range s.store.All(ctx) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		s.Errorf("all with a cancelled context ends with %v", last)
	}
}

func (s *suite) concurrentPuts() {
	content := large(100_000)
	d := digest.FromBytes(content)
	var files []*os.File
	for range 8 {
		files = append(files, s.file(content))
	}
	s.put(d, content)
	var group sync.WaitGroup
	for _, f := range files {
		group.Go(func() {
			if err := s.store.Put(s.Context(), d, f); err != nil {
				s.Error(err)
			}
		})
		group.Go(func() {
			r, err := s.store.Open(s.Context(), d)
			if err != nil {
				s.Error(err)
				return
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
				s.Errorf("a reader between puts got %d bytes, %v", len(got), err)
			}
		})
	}
	group.Wait()
	s.want(d, content)
}

func (s *suite) concurrentMany() {
	files := make(map[string]*os.File)
	for i := range 32 {
		content := fmt.Sprint("content ", i)
		files[content] = s.file([]byte(content))
	}
	var group sync.WaitGroup
	for content, f := range files {
		group.Go(func() {
			if err := s.store.Put(s.Context(), digest.FromString(content), f); err != nil {
				s.Error(err)
			}
		})
	}
	group.Wait()
	for content := range files {
		s.want(digest.FromString(content), []byte(content))
	}
}
