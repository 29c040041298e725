package oci

import (
	"bufio"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
)

// Verify returns body with the contract of Registry.Open kept: read from its
// beginning to its end it yields exactly want.Size bytes (any number when that
// is UnknownSize) that hash to want.Digest, or fails before the last byte. One
// who seeks, where body can, and reads on elsewhere gets bytes that nobody has
// verified.
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

// Unverified returns the body below a verified one, for one who verifies it
// himself; it must not have been read. Any other body is returned as it is.
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
	ahead    *bufio.Reader // holds at least one byte back until the end is seen; nil when seeked away
	want     Descriptor
	verifier digest.Verifier
	hashed   int64 // bytes
	offset   int64 // of the next Read
	given    int64 // bytes read through ahead
	end      error // once the end is seen: io.EOF when all is right
}

func (v *verified) Close() error { return v.body.Close() }

// verifiedSeeker is verified over a body that seeks.
type verifiedSeeker struct {
	*verified
	seeker io.Seeker
}

// ReadParts implements PartReader where the body does.
func (v *verifiedSeeker) ReadParts(parts []Span) {
	if body, ok := v.body.(PartReader); ok {
		body.ReadParts(parts)
	}
}

// Seek moves only the offset, so that measuring a body by its end, as
// http.ServeContent does, does not give the checking up.
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
	if v.ahead != nil && v.offset == v.given {
		return v.verified.Read(p)
	}
	return v.readElsewhere(p)
}

// readElsewhere reads where the offset was moved to, unverified.
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
	v.given += int64(n)
	v.offset = v.given
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

// ErrUnusable marks an answer that has cost a pull and is no manifest, or not the
// one asked for: asking again at once would cost another.
var ErrUnusable = errors.New("unusable response")

// ErrCorrupt marks content that is not what its digest says, and never will be.
var ErrCorrupt = errors.New("content does not match its digest")

// CheckContent reports what is wrong with size bytes of the given hash that
// should be what want describes: ErrCorrupt, or io.ErrUnexpectedEOF when there
// are too few of them.
func CheckContent(want Descriptor, size int64, verifier digest.Verifier) error {
	switch {
	case want.Size != UnknownSize && size < want.Size:
		return Errorf(Unavailable, "%w: got %d of %d bytes of %s", io.ErrUnexpectedEOF, size, want.Size, want.Digest)
	case want.Size != UnknownSize && size > want.Size, !verifier.Verified():
		return Errorf(Unavailable, "%w: the upstream sent %d bytes for %s", ErrCorrupt, size, want.Digest)
	}
	return nil
}
