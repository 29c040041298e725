package spool

import (
	"crypto/sha256"
	"hash"
	"io"
)

// pass is a part that one reader gets from the upstream, ahead of the download.
// It is unverified; what was read of it is hashed, to be compared with the
// download later.
type pass struct {
	begin, at, end int64
	body           io.ReadCloser // nil until it is requested
	sum            hash.Hash     // of the bytes from begin to at
}

func newPass(begin, end int64) *pass {
	return &pass{begin: begin, at: begin, end: end, sum: sha256.New()}
}

// covers reports whether reading on gets from offset to end.
func (p *pass) covers(offset, end int64) bool {
	return p != nil && p.at <= offset && p.end == end
}

// elsewhere reports whether p was planned for another offset, and not begun.
func (p *pass) elsewhere(offset int64) bool {
	return p != nil && p.body == nil && p.begin != offset
}

// read reads at offset, which is not behind what has been read. It returns 0 at
// the end, and when the body fails: the download takes over.
func (p *pass) read(b []byte, offset int64) int {
	skipped, err := io.CopyN(p.sum, p.body, offset-p.at)
	p.at += skipped
	if err != nil {
		return 0
	}
	n, _ := p.body.Read(b[:min(int64(len(b)), p.end-p.at)]) // an error is a reason to read the download instead
	_, _ = p.sum.Write(b[:n])
	p.at += int64(n)
	return n
}

func (p *pass) close() {
	if p.body != nil {
		_ = p.body.Close() // the error of an abandoned body says nothing
	}
}
