package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"mirrord/internal/oci"
)

// errMismatch says that the upstream's bytes are not those that a client was
// sent before.
var errMismatch = fmt.Errorf("%w: the upstream sends different bytes the second time", oci.ErrCorrupt)

// compare reads n bytes of body, which must begin as the spool does.
func (s *Spool) compare(body io.Reader, n int64) error {
	known := min(n, s.Written())
	if _, err := io.CopyN(&comparer{file: s.file}, body, known); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, body, n-known)
	return err
}

// comparer is a Writer that fails with errMismatch on bytes that differ from the
// file's.
type comparer struct {
	file   *os.File
	offset int64
	buffer []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	c.buffer = append(c.buffer[:0], p...)
	if _, err := c.file.ReadAt(c.buffer, c.offset); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	c.offset += int64(len(p))
	if !bytes.Equal(c.buffer, p) {
		return 0, errMismatch
	}
	return len(p), nil
}

// match waits until the download has reached the end of what p has read, and
// fails with errMismatch when the bytes differ.
func (s *Spool) match(ctx context.Context, p *pass) error {
	if p.at == p.begin {
		return nil
	}
	if _, err := s.await(ctx, p.at-1); err != nil {
		return err
	}
	err := p.matches(io.NewSectionReader(s.file, p.begin, p.at-p.begin))
	if err != nil && !errors.Is(err, errMismatch) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return err
}

// compare reads n bytes of body, the whole content from its beginning, which must
// hold the bytes that p has read.
func (p *pass) compare(body io.Reader, n int64) error {
	if _, err := io.CopyN(io.Discard, body, p.begin); err != nil {
		return err
	}
	if err := p.matches(body); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, body, n-p.at)
	return err
}

// matches reads from content as many bytes as p has read, and fails with
// errMismatch when they differ.
func (p *pass) matches(content io.Reader) error {
	sum := sha256.New()
	if _, err := io.CopyN(sum, content, p.at-p.begin); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), p.sum.Sum(nil)) {
		return errMismatch
	}
	return nil
}
