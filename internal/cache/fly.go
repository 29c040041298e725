package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// fly asks the upstream and fills the cache with what it sends, or hands that
// over to who waits when the cache cannot have it.
func (c *Cache) fly(f *flight) {
	defer c.endTurn(f)
	left, have := c.claimPart(f.ref)
	asked := time.Now()
	source, err := c.launch(f, left.written)
	if err != nil {
		c.returnPart(f.ref, left, have)
		c.fail(f, err)
		return
	}
	f.source = source
	if !c.receive(f, time.Since(asked), left, have) {
		c.startOver(f)
	}
}

// receive fills the cache from f's source, or ends f when that cannot be. It
// reports false when f is to start over, with no file open: on a full disk that
// would take up all there is while the upstream is asked again.
func (c *Cache) receive(f *flight, trip time.Duration, left part, have bool) bool {
	s := spool.New(f.source.Size, trip, c.makingRoom)
	defer s.Release()
	if !c.awaitTurn(f, s) {
		c.returnPart(f.ref, left, have)
		f.drop(s)
		return true
	}
	if c.evictsInVain() {
		c.returnPart(f.ref, left, have)
		c.decline(f, s, errFull)
		return true
	}
	p, err := c.openPart(f.ref, f.source, left, have) // before anything is evicted for it
	if err != nil {
		c.degrade(health.Disk, err)
		c.decline(f, s, err)
		return true
	}
	room := c.reserve(f.ref, f.source.Size, p.written)
	if room == nil {
		_ = p.file.Close()
		removeParts([]part{p})
		c.unclaimPart(p)
		c.decline(f, s, errNoRoom)
		return true
	}
	s.Begin(p.file, p.written)
	return c.fill(f, s, p, room)
}

// drop ends a flight that has ended for everybody else, as nobody waits for it.
func (f *flight) drop(s *spool.Spool) {
	f.cancel()
	_ = f.source.Close()
	s.Finish(errDropped)
	if f.spool == nil {
		f.err = errDropped
		close(f.opened)
	}
}

var errDropped = oci.Errorf(oci.Unavailable, "nobody waits for it any more")

// decline ends a flight that the cache has no place for: who waits is given what
// the upstream sends, who has been answered reads it from there.
func (c *Cache) decline(f *flight, s *spool.Spool, why error) {
	c.noteDeclined(f.ref.Digest())
	if f.spool == nil && f.manifest == nil {
		c.handOver(f)
		return
	}
	defer f.cancel()
	_ = f.source.Close()
	c.mu.Lock()
	c.endFlight(f)
	c.mu.Unlock()
	if f.manifest != nil {
		f.answer = f.manifest.answer(f.ref.Digest(), oci.Pass)
		close(f.opened)
		return
	}
	s.Finish(fmt.Errorf("%w: %w", spool.ErrDisk, why))
}

const (
	declinedTime  = 10 * time.Second // which is when a disk in trouble is tried again
	declinedBytes = 64 << 10         // of what is remembered so
)

// noteDeclined remembers that the cache has no place for d.
func (c *Cache) noteDeclined(d oci.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.declined.Add(d.String(), time.Now(), int64(len(d)))
}

// goesPast reports whether ref is asked for in parts, and the cache had no place
// for it a moment ago: to try again for each part would open the whole each time.
func (c *Cache) goesPast(ctx context.Context, ref oci.Ref) bool {
	if oci.PartHint(ctx).End == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	when, ok := c.declined.Get(ref.Digest().String())
	return ok && time.Since(when) < declinedTime
}

// endFlight ends f for all who come now; a manifest they find in memory. The
// caller holds mu.
func (c *Cache) endFlight(f *flight) {
	delete(c.flights, keyOf(f.ref))
	c.stats.Fills--
	if f.manifest == nil {
		return
	}
	c.addManifest(f.ref.Digest(), *f.manifest)
	if c.entries[f.ref.Digest()].serves(f.ref) {
		delete(c.unstored, f.ref)
	} else {
		c.unstored[f.ref] = struct{}{}
	}
}

// launch opens ref upstream, where written bytes are at hand already, unless it is
// a manifest that memory has.
func (c *Cache) launch(f *flight, written int64) (*oci.Content, error) {
	if f.manifest != nil {
		return inMemory(f.manifest.answer(f.ref.Digest(), oci.Fill), f.manifest.raw), nil
	}
	source, err := c.next.Open(oci.WithProgress(oci.WithPartHint(f.ctx, oci.Span{Begin: written}), f.pulse.Beat), f.ref)
	if err != nil || f.ref.Kind() == oci.Blob {
		return source, err
	}
	if err := oci.CheckSize(f.ref, source.Size); err != nil {
		_ = source.Close()
		return nil, err
	}
	return c.readManifest(f, source)
}

// fail ends a flight that nobody has been answered for.
func (c *Cache) fail(f *flight, err error) {
	c.mu.Lock()
	delete(c.flights, keyOf(f.ref))
	c.stats.Fills--
	if oci.Temporary(err) {
		c.stats.Failed++
	}
	c.missing.Note(f.ref, err)
	c.mu.Unlock()
	if !errors.Is(err, oci.ErrUnusable) {
		f.unpaid()
	}
	f.err = err
	f.cancel()
	close(f.opened)
}

// How long what is handed over waits for the first who takes it.
const handOverTime = time.Second

// handOver ends a flight whose content the cache cannot have: the first who takes it
// reads what was opened, everybody else opens his own.
func (c *Cache) handOver(f *flight) {
	c.mu.Lock()
	c.endFlight(f)
	c.mu.Unlock()
	f.source.Via = oci.Pass
	f.answer = f.source.Result
	f.past = make(chan *oci.Content, 1)
	f.past <- f.source
	close(f.opened)
	time.AfterFunc(handOverTime, func() {
		select {
		case content := <-f.past: // whoever wanted it has left
			_ = content.Close()
			f.cancel()
		default:
		}
	})
}
