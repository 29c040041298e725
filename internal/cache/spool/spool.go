// Package spool is the file between one download and the clients that read it:
// one writer, any number of readers behind it, each at its own pace. The file is
// the buffer, so a slow reader costs no memory and delays no other reader. The last byte
// is withheld until the digest is verified: no client completes a wrong blob.
//
// A reader that is far ahead of the writer gets its part from the upstream
// instead, unverified, within a Budget.
package spool

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

var (
	// ErrClosed says that the last user has left and that the content was
	// verified: it is in the store.
	ErrClosed = errors.New("spool closed")

	// ErrDisk says that the disk cannot be written or read. The readers may have
	// the content from the upstream all the same.
	ErrDisk = errors.New("the cache disk fails")
)

// Spool is the file of one download. New makes one; its methods may be called
// concurrently, except that one goroutine calls Begin, Write and Finish.
type Spool struct {
	write func(need int64, do func() error) error

	// Set by Begin, before a byte can be read.
	file    *os.File
	begun   time.Time     // when writing began, at the offset start
	start   int64         // bytes that the file held already
	latency time.Duration // of the upstream's response

	// mu guards all below. Nothing blocks under it.
	mu       sync.Mutex
	size     int64 // oci.UnknownSize until the end is seen
	written  int64
	verified bool
	err      error         // why the download failed
	wake     chan struct{} // closed at the next change; nil without waiters
	users    int           // the writer and the readers; the last one closes file
	onClose  func()        // called after that, unless nil
}

// New returns a spool without a file: its readers wait for Begin. size may be
// oci.UnknownSize; latency is how long the upstream took to respond. Each write
// of need bytes to the file is done by write, which may make space and call do
// again. The caller is the writer and the first user.
func New(size int64, latency time.Duration, write func(need int64, do func() error) error) *Spool {
	return &Spool{write: write, size: size, latency: latency, users: 1}
}

// Begin lets the readers have the written bytes that file holds already. It is
// called once; the last user closes file.
func (s *Spool) Begin(file *os.File, written int64) {
	s.change(func() {
		s.file, s.begun = file, time.Now()
		s.start, s.written = written, written
	})
}

// Write appends p and lets the readers have it. It fails with ErrDisk.
func (s *Spool) Write(p []byte) (int, error) {
	total := 0
	err := s.write(int64(len(p)), func() error {
		n, err := s.file.WriteAt(p[total:], s.written)
		s.change(func() { s.written += int64(n) })
		total += n
		return err
	})
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return total, err
}

// Finish ends the download: with nil the content is whole and verified, and its
// last byte is released; otherwise every reader gets err.
func (s *Spool) Finish(err error) {
	s.change(func() {
		if s.err = err; err == nil {
			s.verified, s.size = true, s.written
		}
	})
}

func (s *Spool) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// Acquire makes the caller a user, who calls Release. When no user is left it
// fails with why the download failed, or with ErrClosed.
func (s *Spool) Acquire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		return cmp.Or(s.err, ErrClosed)
	}
	s.users++
	return nil
}

// Release ends the caller's use. The last one closes the file.
func (s *Spool) Release() {
	s.mu.Lock()
	s.users--
	last, onClose := s.users == 0, s.onClose
	s.mu.Unlock()
	if last && s.file != nil {
		_ = s.file.Close() // its content was synced by the store, or is given up
	}
	if last && onClose != nil {
		onClose()
	}
}

// OnClose has the last user call f after the file is closed. The caller is a
// user.
func (s *Spool) OnClose(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onClose = f
}

// File is the file of the download, open until the last user has left. It may be
// asked for after Begin.
func (s *Spool) File() *os.File { return s.file }

// Size is that of the content in bytes, oci.UnknownSize until it is known.
func (s *Spool) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Written returns how many bytes are written.
func (s *Spool) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// Rate returns how many bytes a second were written, on average. It may be asked for
// after Begin.
func (s *Spool) Rate() float64 {
	took := time.Since(s.begun).Seconds()
	if took <= 0 {
		return 0
	}
	return float64(s.Written()-s.start) / took
}

// failure returns why the download failed, or nil.
func (s *Spool) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// readable returns how many bytes may be read now. The caller holds mu.
func (s *Spool) readable() int64 {
	if s.verified || s.size == oci.UnknownSize || s.written < s.size {
		return s.written
	}
	return s.size - 1
}

// readAt reads at off and waits, until ctx ends, for the writer to get there.
// At the end of the content it returns io.EOF.
func (s *Spool) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := s.await(ctx, off)
	if err != nil {
		return 0, err
	}
	return s.readFile(p[:min(int64(len(p)), n)], off)
}

// await waits, until ctx ends, for the byte at off, and returns how many bytes
// can be read from there. At the end of the content it returns io.EOF.
func (s *Spool) await(ctx context.Context, off int64) (int64, error) {
	for {
		s.mu.Lock()
		n, err := s.available(off)
		if n > 0 || err != nil {
			s.mu.Unlock()
			return n, err
		}
		wake := s.nextChange()
		s.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (s *Spool) readFile(p []byte, off int64) (int, error) {
	n, err := s.file.ReadAt(p, off)
	if n > 0 { // an error behind these bytes is returned by the next read
		return n, nil
	}
	return 0, fmt.Errorf("%w: %w", ErrDisk, err)
}

// available returns how many bytes can be read at off now; 0 when there may be some
// later. The caller holds mu.
func (s *Spool) available(off int64) (int64, error) {
	n := s.readable() - off
	switch {
	case n > 0:
		return n, nil
	case s.err != nil:
		return 0, s.err
	case s.verified:
		return 0, io.EOF
	}
	return 0, nil
}

// nextChange returns the channel that is closed at the next change. The caller holds
// mu.
func (s *Spool) nextChange() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// A reader waits for the writer when that gets there sooner than the upstream
// would answer a request for the part.
const (
	nearBytes = 128 << 10              // always wait for these: one write of the download
	nearTime  = 500 * time.Millisecond // and never longer than this
	rateTime  = 250 * time.Millisecond // of writing, before which no rate is known
)

// far reports whether off is so far ahead of the writer that a reader is better
// off asking the upstream for it.
func (s *Spool) far(off int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verified || s.err != nil {
		return false
	}
	return s.file == nil || off-s.written > s.near() // without a file the download is still queued
}

// near returns how many bytes are written while the upstream answers a request.
// The caller holds mu.
func (s *Spool) near() int64 {
	elapsed := time.Since(s.begun)
	if elapsed < rateTime {
		return nearBytes
	}
	rate := float64(s.written-s.start) / elapsed.Seconds()
	return max(nearBytes, int64(rate*min(s.latency, nearTime).Seconds()))
}
