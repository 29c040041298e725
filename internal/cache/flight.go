package cache

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/call"
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

	// Guarded by Cache.mu.
	waiters map[netip.Prefix]int // the clients that wait for it or read it, and how often
	queued  bool                 // it waits for its turn
	turn    bool                 // it may fill
	called  chan struct{}        // closed when it is no longer queued

	budget   *spool.Budget // for parts that readers get ahead of the spool
	manifest *manifest     // what was fetched, if it is one; set before opened is closed

	// ctx ends what is fetched; cancel ends ctx.
	ctx    context.Context
	cancel context.CancelFunc

	unpaid func() // gives back the pull that was taken for it
	letGo  func() // ends hold, for a caller who holds mu
	pulse  *call.Pulse

	// opened is closed when the fields below are set: the upstream has
	// answered, or failed to.
	opened chan struct{}
	err    error
	answer oci.Result
	source *oci.Content      // the upstream's
	spool  *spool.Spool      // nil when the content goes past the cache
	past   chan *oci.Content // then it holds source for the first who takes it
}

// answered reports whether answer is known.
func (f *flight) answered() bool { return f.isOpened() && f.err == nil }

// isOpened reports whether the fields below opened may be read.
func (f *flight) isOpened() bool {
	select {
	case <-f.opened:
		return true
	default:
		return false
	}
}

// openDigest opens what is kept, or joins or starts the flight that fetches it.
func (c *Cache) openDigest(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	return c.openWithin(ctx, ref, call.Endless)
}

// openWithin is openDigest for one who bears only so long a silence of the
// upstream's. It fails with call.ErrSilent then.
func (c *Cache) openWithin(ctx context.Context, ref oci.Ref, silence time.Duration) (*oci.Content, error) {
	begun := time.Now()
	for via := oci.Hit; ; {
		content, err := c.openCached(ctx, ref)
		if err == nil {
			content.Via = via
			return content, nil
		}
		if !errors.Is(err, errNotCached) {
			return nil, err
		}
		if c.verifyFound(ctx, ref) {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if c.goesPast(ctx, ref) {
			return c.openPast(ctx, ref)
		}
		f, err := c.join(ctx, ref)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue // it has just come to be kept
		}
		content, err = c.board(ctx, ref, f, silence)
		switch {
		case errors.Is(err, spool.ErrClosed): // the fill was faster than its client
			via = oci.Fill
		case errors.Is(err, errOtherType):
			select { // to be asked about by itself, once the digest is free
			case <-f.ctx.Done():
			case <-ctx.Done():
			}
		case errors.Is(err, spool.ErrDisk): // and so was the disk's failure
			return c.openPast(ctx, ref)
		case !failedAnother(ref, f, err) || oci.Temporary(err) && time.Since(begun) > joinPatience:
			return content, err
		}
	}
}

// joinPatience is how long one may have waited for another repository's request and
// still make his own when that fails. An upstream that hangs does so for both, and
// clients wait 30 s.
const joinPatience = 10 * time.Second

// failedAnother reports whether err answers another repository's request: it
// says nothing of ref's, which is asked for next. One digest has one flight at a
// time, and whoever has led it in vain asks no more, so each repository asks once.
func failedAnother(ref oci.Ref, f *flight, err error) bool {
	return err != nil && f.ref != ref && f.isOpened() && err == f.err
}

// board waits for the upstream's answer and returns a reader of the flight.
func (c *Cache) board(ctx context.Context, ref oci.Ref, f *flight, silence time.Duration) (*oci.Content, error) {
	reading := false
	defer func() {
		if !reading {
			c.leave(ctx, f)
		}
	}()
	if err := f.pulse.Wait(ctx, f.opened, silence); err != nil {
		return nil, err
	}
	if f.err != nil {
		return nil, f.err
	}
	if !f.serves(ref) {
		return nil, errOtherType
	}
	if f.manifest != nil {
		return inMemory(f.answer, f.manifest.raw), nil
	}
	if f.spool == nil {
		return c.takeOver(ctx, ref, f)
	}
	if err := f.spool.Acquire(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.lend(f.entry)
	c.mu.Unlock()
	r := f.spool.NewReader(ctx, f.answer.Size, f.budget, spool.Source{
		OpenPart: func(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
			return c.openPass(ctx, ref, f.source, part)
		},
		Reopen: func(ctx context.Context, failure error) (io.ReadCloser, error) {
			return c.readInstead(ctx, ref, failure)
		},
		Joined: f.ref != ref,
	})
	reading = true
	return &oci.Content{Result: f.answer, Body: r, Done: func() {
		c.giveBack(f.entry)
		c.leave(ctx, f)
	}}, nil
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
	content, err := c.next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content.Via = oci.Pass
	return content, nil
}

// openPass opens a part of what the upstream sends; nobody has verified it.
func (c *Cache) openPass(ctx context.Context, ref oci.Ref, source *oci.Content, part oci.Span) (io.ReadCloser, error) {
	if body, ok := oci.Unverified(source.Body).(oci.Reopener); ok {
		return body.Reopen(ctx, part)
	}
	content, err := c.next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	body, ok := content.Body.(io.Seeker)
	if !ok {
		_ = content.Close()
		return nil, oci.ErrNoParts
	}
	if _, err := body.Seek(part.Begin, io.SeekStart); err != nil {
		_ = content.Close()
		return nil, err
	}
	return &opened{content}, nil
}

// readInstead returns the whole for a client of a spool that has failed: past the
// cache when the disk did, or from a flight of ref's own. It is to be read from its
// beginning, so that its last byte is withheld until all of it is known to be right.
func (c *Cache) readInstead(ctx context.Context, ref oci.Ref, failure error) (io.ReadCloser, error) {
	open := c.openDigest
	if errors.Is(failure, spool.ErrDisk) {
		open = c.openPast
	}
	content, err := open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &opened{content}, nil
}

// opened is content that is read as one body.
type opened struct{ *oci.Content }

func (o *opened) Read(p []byte) (int, error) { return o.Body.Read(p) }
