package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/health"
	"mirrord/internal/oci"
)

// fill runs one flight: it asks the upstream, and copies what that sends through a
// spool into the store, or hands it to the waiters when the cache cannot take it.
type fill struct {
	cache       *Cache
	flight      *flight
	spool       *spool.Spool
	part        part
	reservation *reservation
	unlock      func() // ends lockFile, for a caller who holds mu; nil before
	yields      bool   // to what was cached meanwhile, which others may hold
	err         error  // why nothing was cached
}

const copyBuffer = 128 << 10

func (l *fill) run() {
	c, f := l.cache, l.flight
	defer c.endTurn(f)
	defer l.reportEnd()
	left := c.claimPart(f.ref)
	asked := time.Now()
	source, err := l.request(left.written)
	if err != nil {
		c.returnPart(f.ref, left)
		l.fail(err)
		return
	}
	f.source = source
	if !l.receive(time.Since(asked), left) {
		l.startOver()
	}
}

// request opens the content upstream, of which written bytes are on the disk
// already, unless it is a manifest that memory has. A manifest is read whole.
func (l *fill) request(written int64) (*oci.Content, error) {
	f := l.flight
	if f.manifest != nil {
		return inMemory(f.manifest.result(f.ref.Digest(), oci.Fill), f.manifest.raw), nil
	}
	ctx := oci.WithProgress(oci.WithPartHint(f.ctx, oci.Span{Begin: written}), f.pulse.Beat)
	source, err := l.cache.next.Open(ctx, f.ref)
	if err != nil || f.ref.Kind() == oci.Blob {
		return source, err
	}
	if source.Via == oci.Shared || source.Via == oci.Peer { // it costs no pull
		f.refund()
		f.refund = func() {}
	}
	if err := oci.CheckSize(f.ref, source.Size); err != nil {
		_ = source.Close()
		return nil, err
	}
	return l.readManifest(source)
}

// fail ends a flight that has no response for its waiters.
func (l *fill) fail(err error) {
	c, f := l.cache, l.flight
	l.err = err
	c.mu.Lock()
	delete(c.flights.inFlight, keyOf(f.ref))
	c.stats.Fills--
	if oci.Temporary(err) && !errors.Is(err, oci.ErrOffline) {
		c.stats.Failed++
	}
	c.missing.Note(f.ref, err)
	c.mu.Unlock()
	if !errors.Is(err, oci.ErrUnusable) {
		f.refund()
	}
	f.cancel()
	f.fail(err)
}

// receive fills the cache from the flight's source, or ends the flight when that
// cannot be. It reports false when the flight has to start over, with no file open:
// on a full disk that would take up all there is while the upstream is asked again.
func (l *fill) receive(latency time.Duration, left part) bool {
	c, f := l.cache, l.flight
	l.spool = spool.New(f.source.Size, latency, c.evictor.write)
	defer l.spool.Release()
	if !c.awaitTurn(f, l.spool) {
		c.returnPart(f.ref, left)
		l.drop()
		return true
	}
	if c.evictor.hasNoEffect() {
		c.returnPart(f.ref, left)
		l.decline(errFull)
		return true
	}
	var err error
	if l.part, err = c.partDir.open(f.ref, f.source, left); err != nil { // before anything is evicted for it
		c.degrade(health.Disk, err)
		l.decline(err)
		return true
	}
	if l.reservation, err = c.reserve(f.ref, f.source.Size, l.part.written); err != nil {
		_ = l.part.file.Close()
		c.discardPart(l.part)
		l.decline(err)
		return true
	}
	l.spool.Begin(l.part.file, l.part.written)
	return l.copyAndStore()
}

// drop ends a flight whose last waiter has left before its turn.
func (l *fill) drop() {
	f := l.flight
	f.cancel()
	_ = f.source.Close()
	l.err = errDropped
	l.spool.Finish(errDropped)
	if f.spool == nil {
		f.fail(errDropped)
	}
}

var errDropped = oci.Errorf(oci.Unavailable, "the download was dropped before it began: no client waited for it any more")

// copyAndStore copies the source into the spool and stores it, in the space that is
// reserved. It reports false when the flight has to start over.
func (l *fill) copyAndStore() bool {
	c, f := l.cache, l.flight
	c.mu.Lock()
	l.reservation.spool, f.filling = l.spool, l.spool
	c.mu.Unlock()
	if f.source.Size > 0 && f.spool == nil {
		f.open(l.spool, f.source.Size)
	}
	err := l.copy()
	if err != nil {
		c.noteDisk(err)
		c.leavePart(f.ref, l.part, l.spool, err)
	}
	if noSpace := errors.Is(err, errNoSpace); noSpace || errors.Is(err, spool.ErrDisk) {
		if f.spool == nil {
			l.reservation.release()
			return false
		}
		if noSpace { // readers get the rest from the upstream, as when the disk fails
			err = fmt.Errorf("%w: %w", spool.ErrDisk, err)
		}
	}
	defer f.cancel()
	defer func() { _ = f.source.Close() }()
	if err != nil {
		l.land(err)
		l.spool.Finish(err) // after landing: a client that comes now starts another flight
		return true
	}
	l.spool.Finish(nil)
	err = l.store()
	c.noteDisk(err)
	l.land(err)
	return true
}

// copy moves the source through the hash into the spool and verifies it. The bytes
// that the spool holds already are hashed first.
func (l *fill) copy() error {
	want, have := l.flight.source.Descriptor, l.part.written
	verifier := want.Digest.Verifier()
	body := oci.Unverified(l.flight.source.Body)
	if seeker, ok := body.(io.Seeker); ok {
		if _, err := io.Copy(verifier, io.NewSectionReader(l.part.file, 0, have)); err != nil {
			return fmt.Errorf("%w: read unfinished fill: %w", spool.ErrDisk, err)
		}
		if _, err := seeker.Seek(have, io.SeekStart); err != nil {
			return err
		}
	}
	to := io.MultiWriter(l.reservation, verifier, l.spool) // hashed before a reader can have it
	var from io.Reader = body
	if want.Size != oci.UnknownSize {
		from = io.LimitReader(body, want.Size-have+1)
	}
	if _, err := io.CopyBuffer(to, from, make([]byte, copyBuffer)); err != nil {
		return err
	}
	err := oci.CheckContent(want, l.spool.Written(), verifier)
	if checked, ok := body.(oci.Checked); ok {
		checked.Checked(err)
	}
	return err
}

// store stores the verified content. The file of the digest is locked until the
// flight has landed.
func (l *fill) store() error {
	c, d := l.cache, l.flight.ref.Digest()
	replacing, err := l.lockFile()
	if err != nil {
		c.countOpen(l.spool)
		removePart(l.part)
		return err
	}
	need := min(l.spool.Written(), copyBuffer) // how much is not on the disk before it is synced is not known
	put := func() error { return c.opts.Store.Put(c.runner.Context(), d, l.part.file) }
	if err := c.evictor.write(need, put); err != nil {
		c.countOpen(l.spool)
		_ = os.Remove(l.part.file.Name())
		if !replacing { // it may be in place all the same, and nothing would count it
			_ = c.opts.Store.Remove(context.WithoutCancel(c.runner.Context()), d)
		}
		return fmt.Errorf("%w: store blob %s: %w", spool.ErrDisk, d, err)
	}
	return nil
}

// lockFile waits until a file of the digest that is being removed is gone, so that
// the removal cannot hit the new one, and then keeps all others from the file until
// l.unlock. What is cached under the digest is forgotten, but for its type, so that
// it is not evicted meanwhile; it comes back unless something has replaced it.
// lockFile reports whether there is such a thing. If l yields to it, it stays, and
// lockFile fails with errCached.
func (l *fill) lockFile() (replacing bool, err error) {
	c, e := l.cache, l.flight.entry
	d := e.digest
	c.mu.Lock()
	for busy := c.blobs.busy[d]; busy != nil; busy = c.blobs.busy[d] {
		c.mu.Unlock()
		<-busy
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	old := c.blobs.get(d)
	if l.yields && old != nil && old.isVerified() && !old.failing {
		return true, errCached
	}
	locked := make(chan struct{})
	c.blobs.busy[d] = locked
	var replaced int64 // bytes of a file that is on the disk until the new one takes its name
	if old != nil {
		e.typed, e.config = old.typed, old.config
		replaced = old.size
		c.space.leaving += replaced
		c.forget(old)
	}
	l.unlock = func() {
		c.space.leaving -= replaced
		if old != nil && c.blobs.get(d) == nil {
			c.add(old)
		}
		delete(c.blobs.busy, d)
		close(locked)
	}
	return old != nil, nil
}

// land ends the flight: what it fetched is cached from now on, unless err is set.
func (l *fill) land(err error) {
	c, f := l.cache, l.flight
	l.err = err
	var leaving []part
	if err == nil && f.manifest != nil {
		f.entry.config = configOf(f.manifest.raw)
	}
	c.mu.Lock()
	c.space.end(l.reservation)
	if err == nil {
		leaving = c.leaveParts(c.parts.take(partOf(f.ref)))
		l.addEntry(l.spool.Written())
		c.budgets.Remove(budgetKey(f.ref))
	} else {
		c.stats.Failed++
	}
	c.end(f)
	if l.unlock != nil {
		l.unlock()
	}
	c.mu.Unlock()
	c.partDir.removeLeaving(leaving)
	if err == nil {
		c.recorder.save(f.ref.Digest())
		report2(c.opts.Hooks.Stored, f.ref, f.source.Via)
	}
	l.conclude(err)
}

// addEntry caches the size bytes that were stored. The caller holds mu.
func (l *fill) addEntry(size int64) {
	e, now := l.flight.entry, time.Now()
	e.size, e.used, e.verified = size, now, now
	if l.flight.manifest != nil {
		e.typed = l.flight.manifest.typed
	}
	l.cache.add(e)
}

// reportEnd reports how the flight has ended.
func (l *fill) reportEnd() {
	if l.cache.opts.Hooks.FlightEnded == nil {
		return
	}
	var bytes int64
	if l.spool != nil {
		bytes = l.spool.Written()
	}
	l.cache.opts.Hooks.FlightEnded(l.flight.ctx, bytes, l.err)
}

// conclude releases the waiters of a flight that has landed, and reports a failure
// that came after their response and is not the end of the mirror. A failure of the
// disk costs no client anything.
func (l *fill) conclude(err error) {
	c, f := l.cache, l.flight
	switch {
	case f.spool != nil && errors.Is(err, spool.ErrDisk):
	case f.spool != nil && err != nil && !c.runner.Stopped():
		report2(c.opts.Hooks.FillFailed, f.ref, err)
	case f.spool != nil:
	case err != nil:
		f.fail(oci.Errorf(oci.Unavailable, "fetch %s: %w", f.ref, err))
	default:
		f.open(l.spool, l.spool.Written())
	}
}
