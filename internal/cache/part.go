package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// partKey is what an unfinished fill is a part of, whichever upstream it came
// from.
type partKey struct {
	digest oci.Digest
	kind   oci.Kind
}

func partOf(ref oci.Ref) partKey { return partKey{ref.Digest(), ref.Kind()} }

// part is an unfinished fill: a file that the next fill of the same digest goes
// on with, for as long as partAge.
type part struct {
	file    *os.File // open while a fill writes it
	path    string
	written int64
	left    time.Time // when its fill ended
}

const partAge = time.Hour

// claimPart takes what an earlier fill of ref left, if anything, away from the
// janitor. It counts as claimed until it is returned or passes into a room.
func (c *Cache) claimPart(ref oci.Ref) (part, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.parts[partOf(ref)]
	delete(c.parts, partOf(ref))
	c.claimed += p.written
	return p, ok
}

// returnPart gives back what was claimed and not used.
func (c *Cache) returnPart(ref oci.Ref, left part, have bool) {
	if have {
		c.keepPart(ref, left, left.written)
	}
}

// keepPart keeps p for the next fill of ref, claimed bytes of which were claimed.
// There may be another part of the same digest, that a fill from another upstream
// has left meanwhile: the longer one stays.
func (c *Cache) keepPart(ref oci.Ref, p part, claimed int64) {
	c.mu.Lock()
	c.claimed -= claimed
	var shorter []part
	if old, twice := c.parts[partOf(ref)]; twice {
		if old.written > p.written {
			p, old = old, p
		}
		shorter = append(shorter, old)
		c.leaving += old.written
	}
	c.parts[partOf(ref)] = p
	c.mu.Unlock()
	c.removeDropped(shorter)
}

// unclaimPart ends the counting of what was claimed and is gone.
func (c *Cache) unclaimPart(left part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimed -= left.written
}

// openPart opens the file for a fill from source: that of left, when source can
// be read from where it ends, or a new one.
func (c *Cache) openPart(ref oci.Ref, source *oci.Content, left part, have bool) (part, error) {
	if have && resumable(source, left.written) {
		if file, err := c.reopenPart(&left); err == nil {
			c.mu.Lock()
			c.stats.Resumed++
			c.mu.Unlock()
			report2(c.opts.Hooks.Resumed, ref, left.written)
			left.file = file
			return left, nil
		}
	}
	if have {
		removeParts([]part{left})
		c.unclaimPart(left)
	}
	file, err := c.createPart(partName{partKey: partOf(ref), boot: c.boot}.prefix())
	if err != nil {
		return part{}, err
	}
	return part{file: file, path: file.Name()}, nil
}

// resumable reports whether source can be read from the offset written.
func resumable(source *oci.Content, written int64) bool {
	_, seeks := oci.Unverified(source.Body).(io.Seeker)
	return seeks && source.Size != oci.UnknownSize && written <= source.Size
}

// setAside keeps what a failed fill has got for the next one, or removes it
// when it is not to be trusted.
func (c *Cache) setAside(ref oci.Ref, p part, s *spool.Spool, why error) {
	if errors.Is(why, oci.ErrCorrupt) || errors.Is(why, spool.ErrDisk) || errors.Is(why, errNoRoom) || s.Written() == 0 || s.Size() == oci.UnknownSize {
		c.countOpen(s)
		_ = os.Remove(p.path) // what stays behind is dropped by age
		return
	}
	c.keepPart(ref, part{path: p.path, written: s.Written(), left: time.Now()}, 0)
}

// countOpen counts the file of s until its last user has closed it: removed, it
// is on the disk for as long.
func (c *Cache) countOpen(s *spool.Spool) {
	n := s.Written()
	c.mu.Lock()
	c.open += n
	c.mu.Unlock()
	s.OnClose(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open -= n
	})
}

// partBytes returns what unfinished fills take that nobody writes. The caller
// holds mu.
func (c *Cache) partBytes() int64 {
	var n int64
	for _, p := range c.parts {
		n += p.written
	}
	return n
}

// takeOldestPart forgets the unfinished fill that ended first: nobody waits for
// it. The caller holds mu and removes its file.
func (c *Cache) takeOldestPart() (part, bool) {
	var oldest partKey
	var found bool
	for key, p := range c.parts {
		if !found || p.left.Before(c.parts[oldest].left) {
			oldest, found = key, true
		}
	}
	p := c.parts[oldest]
	delete(c.parts, oldest)
	return p, found
}

// dropPart forgets what is left of ref, which has been filled. It is for
// removeDropped. The caller holds mu.
func (c *Cache) dropPart(ref oci.Ref) []part {
	return c.dropParts(func(key partKey, _ part) bool { return key == partOf(ref) })
}

// dropPartsBefore forgets what was left before t. It is for removeDropped. The
// caller holds mu.
func (c *Cache) dropPartsBefore(t time.Time) []part {
	return c.dropParts(func(_ partKey, p part) bool { return !p.left.After(t) })
}

func (c *Cache) dropParts(drop func(partKey, part) bool) []part {
	var dropped []part
	for key, p := range c.parts {
		if drop(key, p) {
			delete(c.parts, key)
			c.leaving += p.written
			dropped = append(dropped, p)
		}
	}
	return dropped
}

// removeDropped removes the files of parts whose bytes count as leaving.
func (c *Cache) removeDropped(parts []part) {
	if len(parts) == 0 {
		return
	}
	removeParts(parts)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving -= bytesOf(parts)
}

func bytesOf(parts []part) int64 {
	var n int64
	for _, p := range parts {
		n += p.written
	}
	return n
}

func removeParts(parts []part) {
	for _, p := range parts {
		_ = os.Remove(p.path) // what stays is found by the next start
	}
}

// loadParts takes stock of what an earlier process left unfinished, as far as it
// is to be trusted.
func (c *Cache) loadParts() error {
	files, err := os.ReadDir(c.opts.Parts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a disk may be read-only from the beginning
		return err
	}
	for _, file := range files {
		p := part{path: filepath.Join(c.opts.Parts, file.Name())}
		name, ok := parsePart(file.Name())
		info, err := file.Info()
		if err == nil {
			p.written, p.left = name.trusted(info.Size(), c.boot), info.ModTime()
		}
		old := c.parts[name.partKey]
		if !ok || p.written <= old.written { // no part, empty, or there is a longer one
			removeParts([]part{p})
			continue
		}
		if p.written < info.Size() && os.Truncate(p.path, p.written) != nil {
			continue // on a read-only disk: its end would be trusted next time
		}
		if old.path != "" {
			removeParts([]part{old})
		}
		c.parts[name.partKey] = p
	}
	return nil
}
