package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"mirrord/internal/oci"
)

const (
	// passShare bounds what all readers of a blob get from the upstream ahead of
	// its fill: a fifth of it, so that none costs more than 1.2 times its size.
	// What does not fit waits for the fill.
	passShare   = 5
	passesBytes = 256 << 10 // of what is remembered of passes
	passesSize  = 200       // of one, beside its key
)

// passes is what has been asked for ahead of the fill of one blob. It outlives a
// flight that fails, or that is dropped before its turn: another follows.
type passes struct {
	probe chan struct{} // holds one while that one finds out whether the upstream sends parts

	mu    sync.Mutex // guards all below; nothing blocks under it
	spent int64      // bytes
	known bool       // the upstream sends parts
	none  bool       // it does not, or has failed to
}

// passesOf returns the passes of a blob that a flight is for. The caller holds mu.
func (c *Cache) passesOf(ref oci.Ref) *passes {
	key := passesKey(ref)
	p, ok := c.passes.Get(key)
	if !ok {
		p = &passes{probe: make(chan struct{}, 1)}
		c.passes.Add(key, p, int64(len(key))+passesSize)
	}
	return p
}

func passesKey(ref oci.Ref) string { return ref.Upstream() + " " + ref.Digest().String() }

// book takes n bytes of a blob of that size, if there are so many and they are left.
func (p *passes) book(n, size int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.none || n <= 0 || p.spent+n > size/passShare {
		return false
	}
	p.spent += n
	return true
}

// refund gives back n bytes that were booked and not asked for.
func (p *passes) refund(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent -= n
}

// ask opens a part. Until the upstream has sent one it is asked for one at a time,
// because one that ignores ranges begins to send the whole each time. After a
// failure it is asked for no more: the fill comes anyway.
func (p *passes) ask(ctx context.Context, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	if known, none := p.answers(); !known && !none {
		select {
		case p.probe <- struct{}{}:
			defer func() { <-p.probe }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if _, none := p.answers(); none {
		return nil, oci.ErrNoParts
	}
	body, err := open()
	if ctx.Err() == nil { // a client that leaves tells nothing of the upstream
		p.learn(err)
	}
	return body, err
}

func (p *passes) answers() (known, none bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known, p.none
}

func (p *passes) learn(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = p.known || err == nil
	p.none = p.none || err != nil
}

// pass is a part that one reader gets from the upstream, ahead of the fill. Nobody
// has verified it; what was read of it is hashed, to be compared with the fill's.
type pass struct {
	begin, at, end int64
	body           io.ReadCloser // nil until it is asked for
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
// the end, and when there is no more to be had.
func (p *pass) read(b []byte, offset int64) int {
	skipped, err := io.CopyN(p.sum, p.body, offset-p.at)
	p.at += skipped
	if err != nil {
		return 0
	}
	n, _ := p.body.Read(b[:min(int64(len(b)), p.end-p.at)]) // without bytes the fill takes over
	_, _ = p.sum.Write(b[:n])
	p.at += int64(n)
	return n
}

func (p *pass) close() {
	if p.body != nil {
		_ = p.body.Close() // a body that is given up has nothing to say
	}
}

// match waits until the fill has got what was passed, and fails when it is not
// the same.
func (s *spool) match(ctx context.Context, p *pass) error {
	if p.at == p.begin {
		return nil
	}
	if _, err := s.await(ctx, p.at-1); err != nil {
		return err
	}
	err := p.matches(io.NewSectionReader(s.file, p.begin, p.at-p.begin))
	if err != nil && !errors.Is(err, errUnlike) {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return err
}

// compare reads n bytes of body, the whole from its beginning, which must have
// what was passed.
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

// matches reads from content what was passed, and fails when it is not the same.
func (p *pass) matches(content io.Reader) error {
	sum := sha256.New()
	if _, err := io.CopyN(sum, content, p.at-p.begin); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), p.sum.Sum(nil)) {
		return errUnlike
	}
	return nil
}
