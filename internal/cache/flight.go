package cache

import (
	"context"
	"errors"
	"io"

	"mirrord/internal/oci"
)

// flightKey tells flights apart: one for a digest across all repositories of
// an upstream. Another upstream's troubles are not ours.
type flightKey struct {
	upstream string
	partKey
}

func keyOf(ref oci.Ref) flightKey { return flightKey{ref.Upstream(), partOf(ref)} }

// flight is one fetch of one digest, on behalf of all who want it.
type flight struct {
	ref   oci.Ref // of who asked first
	entry *entry  // what it becomes when it lands; until then it counts the readers
	turn  bool    // it may fill; for its own goroutine alone

	manifest *manifest // what was fetched, if it is one; set before opened is closed

	// ctx ends what is fetched; cancel ends ctx.
	ctx    context.Context
	cancel context.CancelFunc

	unpaid func() // gives back the pull that was taken for it
	letGo  func() // ends hold, for a caller who holds mu

	// opened is closed when the fields below are set: the upstream has
	// answered, or failed to.
	opened chan struct{}
	err    error
	answer oci.Answer
	source *oci.Content      // the upstream's
	spool  *spool            // nil when the content goes past the cache
	past   chan *oci.Content // then it holds source for the first who takes it
}

// answered reports whether answer is known.
func (f *flight) answered() bool {
	select {
	case <-f.opened:
		return f.err == nil
	default:
		return false
	}
}

// openDigest opens what is kept, or joins or starts the flight that fetches it.
func (c *Cache) openDigest(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	for via := oci.Hit; ; {
		content, err := c.openKept(ctx, ref)
		if err == nil {
			content.Via = via
			return content, nil
		}
		if !errors.Is(err, errAbsent) {
			c.degrade(DiskTrouble, err)
			return c.openPast(ctx, ref) // the disk fails, the upstream may not
		}
		if c.settle(ctx, ref) {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f, err := c.join(ctx, ref)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue // it has just come to be kept
		}
		content, err = c.board(ctx, ref, f)
		switch {
		case errors.Is(err, errSpoolClosed): // the fill was faster than its client
			via = oci.Fill
		case errors.Is(err, errDisk): // and so was the disk's failure
			return c.openPast(ctx, ref)
		case !refusedAnother(ref, f, err):
			return content, err
		}
	}
}

// refusedAnother reports whether err answers another repository's request: it
// says nothing of ref's.
func refusedAnother(ref oci.Ref, f *flight, err error) bool {
	return err != nil && f.ref != ref && err == f.err && !oci.Temporary(err)
}

func errClosed() error {
	return oci.Errorf(oci.Unavailable, "the mirror is shutting down")
}

// board waits for the upstream's answer and returns a reader of the flight.
func (c *Cache) board(ctx context.Context, ref oci.Ref, f *flight) (*oci.Content, error) {
	select {
	case <-f.opened:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.manifest != nil {
		return inMemory(f.answer, f.manifest.raw), nil
	}
	if f.spool == nil {
		return c.takeOver(ctx, ref, f)
	}
	if err := f.spool.acquire(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.lend(f.entry)
	c.mu.Unlock()
	r := &reader{ctx: ctx, spool: f.spool, size: f.answer.Size}
	r.reopen = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return c.reopen(ctx, ref, f.source, offset)
	}
	r.instead = func(ctx context.Context) (io.ReadCloser, error) { return c.readInstead(ctx, ref) }
	return &oci.Content{Answer: f.answer, Body: r, Done: func() { c.giveBack(f.entry) }}, nil
}

// takeOver takes what a flight hands over, bound to ctx now, or opens the same
// anew when another has taken it.
func (c *Cache) takeOver(ctx context.Context, ref oci.Ref, f *flight) (*oci.Content, error) {
	select {
	case content := <-f.past:
		stop := context.AfterFunc(ctx, f.cancel)
		content.Done = func() { stop(); f.cancel() }
		return content, nil
	default:
		return c.openPast(ctx, ref)
	}
}

// openPast opens the upstream's content, past the cache.
func (c *Cache) openPast(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := c.Next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content.Via = oci.Pass
	return content, nil
}

// reopen returns one more reader of what the upstream sends, at offset.
func (c *Cache) reopen(ctx context.Context, ref oci.Ref, source *oci.Content, offset int64) (io.ReadCloser, error) {
	if body, ok := oci.Unverified(source.Body).(oci.Reopener); ok {
		return body.Reopen(ctx, offset)
	}
	content, err := c.Next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := skip(content.Body, offset); err != nil {
		_ = content.Close()
		return nil, err
	}
	return content.Body, nil
}

// readInstead returns what the upstream sends, for a client of a spool that the
// disk fails. It is to be read from its beginning, so that its last byte is
// withheld until all of it is known to be right.
func (c *Cache) readInstead(ctx context.Context, ref oci.Ref) (io.ReadCloser, error) {
	content, err := c.openPast(ctx, ref)
	if err != nil {
		return nil, err
	}
	return content.Body, nil
}

// skip moves a body that was just opened to offset.
func skip(body io.Reader, offset int64) error {
	if seeker, ok := body.(io.Seeker); ok {
		_, err := seeker.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, body, offset)
	return err
}
