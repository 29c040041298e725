package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Follower reads a spool while it is being written, and nothing else: where the writer has
// not come to, it waits.
type Follower struct {
	ctx    context.Context
	spool  *Spool
	size   int64
	offset int64
	closed bool
}

// NewFollower returns a follower of content of that size, until ctx ends. The caller has
// called Acquire; Close calls Release.
func (s *Spool) NewFollower(ctx context.Context, size int64) *Follower {
	return &Follower{ctx: ctx, spool: s, size: size}
}

func (f *Follower) Read(p []byte) (int, error) {
	if f.offset >= f.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.spool.readAt(f.ctx, p, f.offset)
	f.offset += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (f *Follower) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the beginning", offset)
	}
	f.offset = offset
	return offset, nil
}

// Close ends the reading.
func (f *Follower) Close() error {
	if f.closed {
		return errors.New("follower closed twice")
	}
	f.closed = true
	f.spool.Release()
	return nil
}
