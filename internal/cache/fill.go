package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// fill copies what the upstream sends through the spool over p into the store,
// in the room that was made for it. It reports false when f is to start over.
func (c *Cache) fill(f *flight, s *spool.Spool, p part, room *room) bool {
	c.mu.Lock()
	room.spool = s
	c.mu.Unlock()
	if f.source.Size > 0 && f.spool == nil {
		f.open(s, f.source.Size)
	}
	err := c.pour(f, s, p.written, room)
	if err != nil {
		c.noteDisk(err)
		c.setAside(f.ref, p, s, err)
	}
	if noRoom := errors.Is(err, errNoRoom); noRoom || errors.Is(err, spool.ErrDisk) {
		if f.spool == nil {
			room.release()
			return false
		}
		if noRoom { // who has been answered reads the rest from the upstream, as when the disk fails
			err = fmt.Errorf("%w: %w", spool.ErrDisk, err)
		}
	}
	defer f.cancel()
	defer func() { _ = f.source.Close() }()
	if err != nil {
		c.land(f, s, err, room)
		s.Finish(err) // after landing: who comes now gets a flight of his own
		return true
	}
	s.Finish(nil)
	err = c.store(f, s)
	c.noteDisk(err)
	c.land(f, s, err, room)
	return true
}

// startOver hands over, from its beginning, what has turned out to be larger
// than the cache or its disk. Nobody has been answered: its size was not known.
func (c *Cache) startOver(f *flight) {
	c.noteDeclined(f.ref.Digest())
	_ = f.source.Close()
	source, err := c.launch(f, 0)
	if err != nil {
		c.fail(f, err)
		return
	}
	f.source = source
	c.handOver(f)
}

// open answers everybody who waits: the content can be read from s.
func (f *flight) open(s *spool.Spool, size int64) {
	f.answer = f.source.Result
	f.answer.Via, f.answer.Size = oci.Fill, size
	if f.ref.Kind() == oci.Blob {
		f.answer.MediaType = ""
	}
	f.spool = s
	close(f.opened)
}

// pour moves the source through the hash into the spool and verifies it. The
// bytes that the spool holds already are hashed first.
func (c *Cache) pour(f *flight, s *spool.Spool, have int64, room *room) error {
	want := f.source.Descriptor
	verifier := want.Digest.Verifier()
	body := oci.Unverified(f.source.Body)
	if seeker, ok := body.(io.Seeker); ok {
		if _, err := io.Copy(verifier, io.NewSectionReader(s.File(), 0, have)); err != nil {
			return fmt.Errorf("%w: read unfinished fill: %w", spool.ErrDisk, err)
		}
		if _, err := seeker.Seek(have, io.SeekStart); err != nil {
			return err
		}
	}
	to := io.MultiWriter(room, verifier, s) // hashed before a reader can have it
	var from io.Reader = body
	if want.Size != oci.UnknownSize {
		from = io.LimitReader(body, want.Size-have+1)
	}
	if _, err := io.CopyBuffer(to, from, make([]byte, copyBuffer)); err != nil {
		return err
	}
	return oci.CheckContent(want, s.Written(), verifier)
}

const copyBuffer = 128 << 10

// store puts the verified content of s. Until its landing the digest is held:
// nobody else touches the file.
func (c *Cache) store(f *flight, s *spool.Spool) error {
	d := f.ref.Digest()
	replacing := c.hold(f)
	need := min(s.Written(), copyBuffer) // what is not on the disk before it is synced is not known
	if err := c.makingRoom(need, func() error { return c.opts.Store.Put(c.runner.Context(), d, s.File()) }); err != nil {
		c.countOpen(s)
		_ = os.Remove(s.File().Name())
		if !replacing { // it may be in place all the same, and nobody would count it
			_ = c.opts.Store.Remove(context.WithoutCancel(c.runner.Context()), d)
		}
		return fmt.Errorf("%w: store blob %s: %w", spool.ErrDisk, d, err)
	}
	return nil
}

// land ends a flight: what it fetched is kept, or the error told.
func (c *Cache) land(f *flight, s *spool.Spool, err error, room *room) {
	var left []part
	if err == nil && f.manifest != nil {
		f.entry.config = configOf(f.manifest.raw)
	}
	c.mu.Lock()
	room.releaseLocked()
	if err == nil {
		left = c.dropPart(f.ref)
		now := time.Now()
		f.entry.size, f.entry.used, f.entry.verified = s.Written(), now, now
		if f.manifest != nil {
			f.entry.typed = f.manifest.typed
		}
		c.keep(f.entry)
		c.budgets.Remove(budgetKey(f.ref))
	} else {
		c.stats.Failed++
	}
	c.endFlight(f)
	f.letGo()
	c.mu.Unlock()
	c.removeDropped(left)
	if err == nil {
		c.noteIndex(c.tellIndex(f.ref.Digest()))
	}
	c.tell(f, s, err)
}

// tell answers who still waits for a flight, and reports a failure that came
// after the answer and is not the end of the mirror. One of the disk costs no
// client anything.
func (c *Cache) tell(f *flight, s *spool.Spool, err error) {
	switch {
	case f.spool != nil && errors.Is(err, spool.ErrDisk):
	case f.spool != nil && err != nil && c.runner.Context().Err() == nil:
		report2(c.opts.Hooks.FillFailed, f.ref, err)
	case f.spool != nil:
	case err != nil:
		f.err = oci.Errorf(oci.Unavailable, "fetch %s: %w", f.ref, err)
		close(f.opened)
	default:
		f.open(s, s.Written())
	}
}
