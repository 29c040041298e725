package cache

import (
	"bytes"
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
	makingRoom func(need int64, do func() error) error // does what needs bytes on a disk that may be full
	trip       time.Duration                           // how long the upstream took to answer

	// Set by begin, before a byte can be read.
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
	closed   func()        // called after that, unless nil
}

// errSpoolClosed says that the last user has left and that the content is in
// the store.
var errSpoolClosed = errors.New("spool closed")

// newSpool returns a spool without a file: its readers wait for begin. The
// caller is its writer and its first user.
func newSpool(size int64, makingRoom func(need int64, do func() error) error) *spool {
	return &spool{makingRoom: makingRoom, size: size, users: 1}
}

// begin lets the readers have the written bytes that file holds already. It is
// called once; the last user closes file.
func (s *spool) begin(file *os.File, written int64) {
	s.change(func() {
		s.file, s.begun = file, time.Now()
		s.from, s.written = written, written
	})
}

// Write appends p and lets the readers have it. One goroutine writes.
func (s *spool) Write(p []byte) (int, error) {
	total := 0
	err := s.makingRoom(int64(len(p)), func() error {
		n, err := s.file.WriteAt(p[total:], s.written)
		s.change(func() { s.written += int64(n) })
		total += n
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", errDisk, err)
	}
	return total, err
}

// errDisk says that the disk does not take what comes, or not give it back: the
// readers may have it from the upstream.
var errDisk = errors.New("the disk of the cache fails")

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
	last, closed := s.users == 0, s.closed
	s.mu.Unlock()
	if last && s.file != nil {
		_ = s.file.Close() // what it held was synced by the store, or is given up
	}
	if last && closed != nil {
		closed()
	}
}

// whenClosed has the last user call closed. The caller is a user.
func (s *spool) whenClosed(closed func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = closed
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
	n, err := s.await(ctx, off)
	if err != nil {
		return 0, err
	}
	return s.readFile(p[:min(int64(len(p)), n)], off)
}

// await waits, until ctx ends, for the byte at off, and returns how many can be
// read from there. At the end of the content it returns io.EOF.
func (s *spool) await(ctx context.Context, off int64) (int64, error) {
	for {
		n, wake, err := s.available(off)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (s *spool) readFile(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	if n > 0 { // what is wrong behind it is told by the next
		return n, nil
	}
	return 0, fmt.Errorf("%w: %w", errDisk, err)
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

// A reader waits for the fill when that will be there sooner than the answer to a
// request of its own.
const (
	nearBytes = 128 << 10              // are read on for, always: one write of the fill
	nearTime  = 500 * time.Millisecond // for no longer than this
	rateTime  = 250 * time.Millisecond // of writing; what came before tells of no rate
)

// compare reads n bytes of body, which must begin as the spool does.
func (s *spool) compare(body io.Reader, n int64) error {
	known := min(n, s.progress())
	if _, err := io.CopyN(&likeness{file: s.file}, body, known); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, body, n-known)
	return err
}

// likeness takes only what file holds.
type likeness struct {
	file   *os.File
	offset int64
	own    []byte
}

var errUnlike = fmt.Errorf("%w: the upstream sends something else the second time", oci.ErrCorrupt)

func (l *likeness) Write(p []byte) (int, error) {
	l.own = append(l.own[:0], p...)
	if _, err := l.file.ReadAt(l.own, l.offset); err != nil {
		return 0, fmt.Errorf("%w: %w", errDisk, err)
	}
	l.offset += int64(len(p))
	if !bytes.Equal(l.own, p) {
		return 0, errUnlike
	}
	return len(p), nil
}

// far reports whether off is so far ahead of the writer that waiting for it
// would be felt.
func (s *spool) far(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verified || s.err != nil {
		return false
	}
	return s.file == nil || off-s.written > s.near() // a file comes with the turn to fill
}

// near returns how many bytes the fill writes while the upstream answers. The
// caller holds mu.
func (s *spool) near() int64 {
	past := time.Since(s.begun)
	if past < rateTime {
		return nearBytes
	}
	rate := float64(s.written-s.from) / past.Seconds()
	return max(nearBytes, int64(rate*min(s.trip, nearTime).Seconds()))
}

// failure returns why the fill failed, or nil.
func (s *spool) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// progress returns how many bytes are written.
func (s *spool) progress() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}
