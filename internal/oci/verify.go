package oci

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// ErrSeek is what a verified Body says to Seek and Reopen when the body below
// cannot.
var ErrSeek = errors.New("body cannot seek")

// Verify returns body with the contract of Registry.Open kept: read from its
// beginning to its end it yields exactly want.Size bytes (any number when that
// is UnknownSize) that hash to want.Digest, or fails before the last byte.
// Seek, where body has it, gives the checking over to the caller.
func Verify(body io.ReadCloser, want Descriptor) io.ReadCloser {
	return &verified{
		body:     body,
		ahead:    bufio.NewReaderSize(body, 32<<10),
		want:     want,
		verifier: want.Digest.Verifier(),
	}
}

type verified struct {
	body     io.ReadCloser
	ahead    *bufio.Reader // holds at least one byte back until the end is seen; nil after a Seek
	want     Descriptor
	verifier digest.Verifier
	read     int64 // bytes hashed
	end      error // once the end is seen: io.EOF when all is right
}

func (v *verified) Close() error { return v.body.Close() }

func (v *verified) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := v.body.(io.Seeker)
	if !ok {
		return 0, ErrSeek
	}
	v.ahead = nil
	return seeker.Seek(offset, whence)
}

// Reopen implements Reopener; it fails with ErrSeek where the body below does
// not.
func (v *verified) Reopen(ctx context.Context, offset int64) (io.ReadCloser, error) {
	if r, ok := v.body.(Reopener); ok {
		return r.Reopen(ctx, offset)
	}
	return nil, ErrSeek
}

func (v *verified) Read(p []byte) (int, error) {
	if v.ahead == nil {
		return v.body.Read(p)
	}
	if v.end == nil {
		last, err := v.ahead.Peek(2)
		if err == nil {
			n, err := v.ahead.Read(p[:min(len(p), v.ahead.Buffered()-1)])
			v.hash(p[:n])
			return n, err
		}
		v.hash(last)
		v.end = v.check(err)
	}
	if v.end != io.EOF {
		return 0, v.end
	}
	return v.ahead.Read(p)
}

func (v *verified) hash(p []byte) {
	_, _ = v.verifier.Write(p) // a hash never fails
	v.read += int64(len(p))
}

func (v *verified) check(err error) error {
	if err != io.EOF {
		return err
	}
	if err := CheckContent(v.want, v.read, v.verifier); err != nil {
		return err
	}
	return io.EOF
}

// ErrCorrupt marks content that is not what its digest says, and never will be.
var ErrCorrupt = errors.New("content is not what its digest says")

// CheckContent reports what is wrong with size bytes of the given hash that
// should be what want describes: ErrCorrupt, or io.ErrUnexpectedEOF when there
// are too few of them.
func CheckContent(want Descriptor, size int64, verifier digest.Verifier) error {
	switch {
	case want.Size != UnknownSize && size < want.Size:
		return Errorf(Unavailable, "%w: %d bytes of %s instead of %d", io.ErrUnexpectedEOF, size, want.Digest, want.Size)
	case want.Size != UnknownSize && size > want.Size, !verifier.Verified():
		return Errorf(Unavailable, "%w: the upstream sent %d bytes for %s", ErrCorrupt, size, want.Digest)
	}
	return nil
}
