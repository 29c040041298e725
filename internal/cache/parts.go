package cache

import (
	"errors"
	"os"
	"time"

	"mirrord/internal/cache/spool"
	"mirrord/internal/oci"
)

// partKey is what an unfinished fill is a part of, whichever upstream it came from.
type partKey struct {
	digest oci.Digest
	kind   oci.Kind
}

func partOf(ref oci.Ref) partKey { return partKey{ref.Digest(), ref.Kind()} }

// part is an unfinished fill: a file with which the next fill of the same digest
// continues. The zero part is none.
type part struct {
	file    *os.File // open while a fill writes it
	path    string
	written int64
	ended   time.Time // when its fill ended
}

const partAge = time.Hour // after which a part is removed

func (p part) exists() bool { return p.path != "" }

// parts are the unfinished fills without a writer. Guarded by Cache.mu.
type parts struct{ files map[partKey]part }

func newParts() *parts { return &parts{make(map[partKey]part)} }

// take removes and returns the part of key, if there is one.
func (s *parts) take(key partKey) part {
	p := s.files[key]
	delete(s.files, key)
	return p
}

// put adds p. There may be another part of the same digest, that a fill from
// another upstream has left meanwhile: the longer one stays, the shorter one is
// returned.
func (s *parts) put(key partKey, p part) (shorter part) {
	shorter = s.files[key]
	if shorter.written > p.written {
		p, shorter = shorter, p
	}
	s.files[key] = p
	return shorter
}

// bytes returns what the parts take.
func (s *parts) bytes() int64 {
	var n int64
	for _, p := range s.files {
		n += p.written
	}
	return n
}

// takeOldest removes and returns the part whose fill ended first, if there is one.
func (s *parts) takeOldest() part {
	var oldest partKey
	for key, p := range s.files {
		if old := s.files[oldest]; !old.exists() || p.ended.Before(old.ended) {
			oldest = key
		}
	}
	return s.take(oldest)
}

// takeBefore removes and returns the parts whose fills ended at t or before.
func (s *parts) takeBefore(t time.Time) []part {
	var old []part
	for key, p := range s.files {
		if !p.ended.After(t) {
			delete(s.files, key)
			old = append(old, p)
		}
	}
	return old
}

// claimPart takes what an earlier fill of ref left, if anything, so that it is not
// evicted. It counts as claimed until it is returned or passes into a reservation.
func (c *Cache) claimPart(ref oci.Ref) part {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts.take(partOf(ref))
	c.space.claimed += p.written
	return p
}

// returnPart returns what was claimed and not used, if anything.
func (c *Cache) returnPart(ref oci.Ref, p part) {
	if p.exists() {
		c.putPart(ref, p, p.written)
	}
}

// putPart leaves p to the next fill of ref; claimed bytes of it were claimed.
func (c *Cache) putPart(ref oci.Ref, p part, claimed int64) {
	c.mu.Lock()
	c.space.claimed -= claimed
	shorter := c.parts.put(partOf(ref), p)
	c.space.leaving += shorter.written
	c.mu.Unlock()
	if shorter.exists() {
		c.partDir.removeLeaving([]part{shorter})
	}
}

// discardPart removes the file of p, which was claimed.
func (c *Cache) discardPart(p part) {
	removePart(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.space.claimed -= p.written
}

// leaveParts counts parts that were taken from the rest as leaving, until
// removeLeaving has removed them. The caller holds mu.
func (c *Cache) leaveParts(taken ...part) (leaving []part) {
	for _, p := range taken {
		if p.exists() {
			c.space.leaving += p.written
			leaving = append(leaving, p)
		}
	}
	return leaving
}

// leavePart leaves what a failed fill has fetched to the next one, or removes it
// when it cannot be trusted.
func (c *Cache) leavePart(ref oci.Ref, p part, s *spool.Spool, why error) {
	untrusted := errors.Is(why, oci.ErrCorrupt) || errors.Is(why, spool.ErrDisk) || errors.Is(why, errNoSpace)
	if untrusted || s.Written() == 0 || s.Size() == oci.UnknownSize {
		c.countOpen(s)
		removePart(p)
		return
	}
	c.putPart(ref, part{path: p.path, written: s.Written(), ended: time.Now()}, 0)
}

// countOpen counts the file of s, which is being removed, until its last user has
// closed it: so long it takes up the disk.
func (c *Cache) countOpen(s *spool.Spool) {
	n := s.Written()
	c.mu.Lock()
	c.space.open += n
	c.mu.Unlock()
	s.OnClose(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.space.open -= n
	})
}

func removePart(p part) { _ = os.Remove(p.path) } // what stays is removed by the next start
