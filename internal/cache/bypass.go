package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// What the cache has no space for, or reads of a fill that cannot wait, comes from
// the upstream: it bypasses the cache.

const (
	declinedTime  = 10 * time.Second // after which a failing disk is tried again
	declinedBytes = 64 << 10         // of memory for what was declined
	handoffTime   = time.Second      // for which a handoff waits for the first who takes it
)

// noteDeclined remembers that the cache has no space for d.
func (c *Cache) noteDeclined(d oci.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.declined.Add(d.String(), time.Now(), int64(len(d)))
}

// bypasses reports whether ref is asked for in parts, and the cache had no space for
// it a moment ago: to try again for each part would open the whole each time.
func (c *Cache) bypasses(ctx context.Context, ref oci.Ref) bool {
	if oci.PartHint(ctx).End == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	when, ok := c.declined.Get(ref.Digest().String())
	return ok && time.Since(when) < declinedTime
}

// openBypass opens the upstream's content.
func (c *Cache) openBypass(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := c.next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content.Via, content.Source = oci.Pass, ref
	return content, nil
}

// takeHandoff takes the handoff of f, bound to ctx now, or opens the same again when
// another client has taken it.
func (c *Cache) takeHandoff(ctx context.Context, ref oci.Ref, f *flight) (*oci.Content, error) {
	select {
	case content := <-f.handoff:
		stop := context.AfterFunc(ctx, f.cancel)
		content.Done = func() { stop(); f.cancel() }
		return content, nil
	default:
		return c.openBypass(ctx, ref)
	}
}

// handOff ends a flight whose content the cache cannot take: the first who takes it
// reads what was opened, everyone else opens it again.
func (c *Cache) handOff(f *flight) {
	c.mu.Lock()
	c.end(f)
	c.mu.Unlock()
	f.source.Via, f.source.Source = oci.Pass, f.ref
	f.result = f.source.Result
	f.handoff = make(chan *oci.Content, 1)
	f.handoff <- f.source
	close(f.opened)
	time.AfterFunc(handoffTime, func() {
		select {
		case content := <-f.handoff: // its client has left
			_ = content.Close()
			f.cancel()
		default:
		}
	})
}

// decline ends a flight that the cache has no space for: waiters are given what the
// upstream sends, readers of the spool read it from there.
func (l *fill) decline(why error) {
	c, f := l.cache, l.flight
	l.err = why
	c.noteDeclined(f.ref.Digest())
	if f.spool == nil && f.manifest == nil {
		c.handOff(f)
		return
	}
	defer f.cancel()
	_ = f.source.Close()
	c.mu.Lock()
	c.end(f)
	c.mu.Unlock()
	if f.manifest != nil {
		f.result = f.manifest.result(f.ref.Digest(), oci.Pass)
		f.result.Source = f.ref
		close(f.opened)
		return
	}
	l.spool.Finish(fmt.Errorf("%w: %w", spool.ErrDisk, why))
}

// startOver hands off, from its beginning, what has turned out to be larger than the
// cache or its disk. It has no readers: its size was not known.
func (l *fill) startOver() {
	c, f := l.cache, l.flight
	c.noteDeclined(f.ref.Digest())
	_ = f.source.Close()
	source, err := l.request(0)
	if err != nil {
		l.fail(err)
		return
	}
	f.source = source
	c.handOff(f)
}

// sourceFor is how a reader of f, for ref, gets bytes elsewhere than from the spool.
func (c *Cache) sourceFor(ref oci.Ref, f *flight) spool.Source {
	return spool.Source{
		OpenPart: func(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
			return c.openPart(ctx, ref, f.source, part)
		},
		Reopen: func(ctx context.Context, failure error) (io.ReadCloser, error) {
			return c.reopen(ctx, ref, failure)
		},
		Joined: f.ref != ref,
	}
}

// openPart requests a part of source, which was opened for ref; it is unverified.
func (c *Cache) openPart(ctx context.Context, ref oci.Ref, source *oci.Content, part oci.Span) (io.ReadCloser, error) {
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
	return contentBody{content}, nil
}

// reopen returns the whole for a client of a spool that has failed: from the
// upstream when the disk failed, or from a flight of ref's own. It has to be read
// from its beginning, so that its last byte is withheld until all is verified.
func (c *Cache) reopen(ctx context.Context, ref oci.Ref, failure error) (io.ReadCloser, error) {
	open := c.Open
	if errors.Is(failure, spool.ErrDisk) {
		open = c.openBypass
	}
	content, err := open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return contentBody{content}, nil
}

// contentBody is content as one body.
type contentBody struct{ content *oci.Content }

func (b contentBody) Read(p []byte) (int, error) { return b.content.Body.Read(p) }
func (b contentBody) Close() error               { return b.content.Close() }
