package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// spool is the temporary file of one fill: one writer, any number of readers
// behind it, each at its own pace. The file is the buffer, so a slow reader
// costs no memory and holds nobody up. Until the digest is known to be right
// the last byte is withheld: nobody can complete on a wrong blob.
type spool struct {
	file  *os.File
	begun time.Time // when writing began, at the offset from
	from  int64

	// mu guards all below. Nothing blocks under it.
	mu       sync.Mutex
	size     int64 // oci.UnknownSize until the end is seen
	written  int64
	verified bool
	err      error         // why the fill failed
	wake     chan struct{} // closed at the next change; nil when nobody waits
	users    int           // the writer and the readers; the last one closes file
}

// errSpoolClosed says that the last user has left and that the content is in
// the store.
var errSpoolClosed = errors.New("spool closed")

// newSpool returns the spool over file, which holds written bytes already. The
// caller is its writer and its first user.
func newSpool(file *os.File, size, written int64) *spool {
	return &spool{file: file, begun: time.Now(), from: written, size: size, written: written, users: 1}
}

// Write appends p and lets the readers have it. One goroutine writes.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.file.WriteAt(p, s.written)
	s.change(func() { s.written += int64(n) })
	if err != nil {
		err = fmt.Errorf("%w: %w", errDisk, err)
	}
	return n, err
}

// errDisk says that what came could not be written: the readers may have it
// from the upstream.
var errDisk = errors.New("write to the cache failed")

// finish ends the fill: with nil the content is whole and right, and the last
// byte is let go; otherwise every reader gets err.
func (s *spool) finish(err error) {
	s.change(func() {
		if s.err = err; err == nil {
			s.verified, s.size = true, s.written
		}
	})
}

func (s *spool) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// acquire makes the caller a user, who releases it. When there is none left it
// fails with why the fill failed, or with errSpoolClosed.
func (s *spool) acquire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return cmp.Or(s.err, errSpoolClosed)
	}
	s.users++
	return nil
}

func (s *spool) release() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		_ = s.file.Close() // what it held was synced by the store, or is given up
	}
}

// readable returns how many bytes may be read now. The caller holds mu.
func (s *spool) readable() int64 {
	if s.verified || s.size == oci.UnknownSize || s.written < s.size {
		return s.written
	}
	return s.size - 1
}

// readAt reads at off and waits, until ctx ends, for the writer to get there.
// At the end of the content it returns io.EOF.
func (s *spool) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		n, wake, err := s.available(off)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return s.file.ReadAt(p[:min(int64(len(p)), n)], off)
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// available returns how many bytes can be read at off, or the channel that is
// closed when there may be more.
func (s *spool) available(off int64) (int64, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.readable() - off; n > 0 {
		return n, nil, nil
	}
	switch {
	case s.err != nil:
		return 0, nil, s.err
	case s.verified:
		return 0, nil, io.EOF
	}
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return 0, s.wake, nil
}

// A reader waits for the fill when it is no further ahead of it than this many
// bytes, or than what the fill writes in that time: a request of its own
// upstream would take as long.
const (
	nearBytes = 256 << 10
	nearTime  = 500 * time.Millisecond
)

// far reports whether off is so far ahead of the writer that waiting for it
// would be felt.
func (s *spool) far(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verified || s.err != nil {
		return false
	}
	near := int64(nearBytes)
	if past := time.Since(s.begun); past > 0 {
		rate := float64(s.written-s.from) / past.Seconds()
		near = max(near, int64(rate*nearTime.Seconds()))
	}
	return off-s.written > near
}

// progress returns how many bytes are written.
func (s *spool) progress() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}
