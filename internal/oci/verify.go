package oci

import (
	"bufio"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns body with the contract of Registry.Open: read from beginning to
// end it yields exactly want.Size bytes (any number for UnknownSize) that hash to
// want.Digest, or fails before the last byte with the errors of CheckContent. It
// is an io.Seeker if body is; bytes that are read after a Seek to another offset
// are not verified.
func Verify(body io.ReadCloser, want Descriptor) io.ReadCloser {
	v := &verified{
		body:     body,
		ahead:    bufio.NewReaderSize(body, 32<<10),
		want:     want,
		verifier: want.Digest.Verifier(),
	}
	if seeker, ok := body.(io.Seeker); ok {
		return &verifiedSeeker{v, seeker}
	}
	return v
}

// Unverified returns the body below one of Verify, for a caller that verifies it
// itself; the body must not have been read yet. It returns any other body
// unchanged.
func Unverified(body io.ReadCloser) io.ReadCloser {
	switch v := body.(type) {
	case *verified:
		return v.body
	case *verifiedSeeker:
		return v.body
	}
	return body
}

type verified struct {
	body     io.ReadCloser
	ahead    *bufio.Reader // withholds at least one byte until the end is seen; nil after a read elsewhere
	want     Descriptor
	verifier digest.Verifier
	hashed   int64 // bytes
	offset   int64 // of the next Read
	read     int64 // bytes read through ahead
	end      error // once the end is seen: io.EOF when the content is verified
}

func (v *verified) Close() error { return v.body.Close() }

// verifiedSeeker is a verified body that can seek.
type verifiedSeeker struct {
	*verified
	seeker io.Seeker
}

// ReadParts implements PartReader if the body does.
func (v *verifiedSeeker) ReadParts(parts []Span) {
	if body, ok := v.body.(PartReader); ok {
		body.ReadParts(parts)
	}
}

// Seek only moves the offset: http.ServeContent seeks to the end and back to find
// the size, and that must not end the verification.
func (v *verifiedSeeker) Seek(offset int64, whence int) (int64, error) {
	switch {
	case whence == io.SeekCurrent:
		offset += v.offset
	case whence == io.SeekEnd && v.want.Size == UnknownSize:
		return v.seeker.Seek(offset, whence)
	case whence == io.SeekEnd:
		offset += v.want.Size
	}
	if offset < 0 {
		return 0, errors.New("seek to a negative offset")
	}
	v.offset = offset
	return offset, nil
}

func (v *verifiedSeeker) Read(p []byte) (int, error) {
	if v.ahead != nil && v.offset == v.read {
		return v.verified.Read(p)
	}
	return v.readElsewhere(p)
}

// readElsewhere reads at an offset that Seek has moved, without verification.
func (v *verifiedSeeker) readElsewhere(p []byte) (int, error) {
	if _, err := v.seeker.Seek(v.offset, io.SeekStart); err != nil {
		return 0, err
	}
	v.ahead = nil
	n, err := v.body.Read(p)
	v.offset += int64(n)
	return n, err
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.readAhead(p)
	v.read += int64(n)
	v.offset = v.read
	return n, err
}

func (v *verified) readAhead(p []byte) (int, error) {
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
	v.hashed += int64(len(p))
}

func (v *verified) check(err error) error {
	if err != io.EOF {
		return err
	}
	if err := CheckContent(v.want, v.hashed, v.verifier); err != nil {
		return err
	}
	return io.EOF
}

// ErrUnusable marks a response that has cost a pull but is not a manifest, or not
// the requested one: an immediate retry would cost another pull.
var ErrUnusable = errors.New("unusable response")

// ErrCorrupt marks content that does not match its digest; reading on or resuming
// cannot repair it.
var ErrCorrupt = errors.New("content does not match its digest")

// CheckContent checks size bytes that were written to verifier against want. It
// fails with an *Error that wraps ErrCorrupt, or io.ErrUnexpectedEOF when there
// are too few bytes.
func CheckContent(want Descriptor, size int64, verifier digest.Verifier) error {
	switch {
	case want.Size != UnknownSize && size < want.Size:
		return Errorf(Unavailable, "%w: got %d of %d bytes of %s", io.ErrUnexpectedEOF, size, want.Size, want.Digest)
	case want.Size != UnknownSize && size > want.Size, !verifier.Verified():
		return Errorf(Unavailable, "%w: the upstream sent %d bytes for %s", ErrCorrupt, size, want.Digest)
	}
	return nil
}
