// Package negative is a negative cache: it remembers for a short time that the
// upstream does not have something, so that repeated requests of clients do not reach
// the upstream.
package negative

import (
	"errors"
	"sync"
	"time"

	"mirrord/internal/cache/lru"
	"mirrord/internal/oci"
)

const (
	lifetime = 30 * time.Second
	maxBytes = 1 << 20
)

// Cache remembers errors by reference. Its methods may be called concurrently;
// nothing blocks in them.
type Cache struct {
	mu     sync.Mutex
	errors *lru.Bytes[remembered]
}

type remembered struct {
	err   error
	at    time.Time
	until time.Time
}

// New returns an empty Cache.
func New() *Cache { return &Cache{errors: lru.NewBytes[remembered](maxBytes)} }

// Note remembers err for 30 s if it says that ref does not exist, or that a pull of it
// is useless. It ignores other errors, nil, and tags of signatures and the like, which
// may be pushed at any moment.
func (c *Cache) Note(ref oci.Ref, err error) { c.note(ref, err, lifetime) }

// NoteTag is Note for a tag that is fresh for that long: that it does not exist is
// remembered no longer than what it names would be.
func (c *Cache) NoteTag(ref oci.Ref, err error, fresh time.Duration) {
	if errors.Is(err, oci.ErrUnusable) { // asking again costs another pull
		fresh = lifetime
	}
	c.note(ref, err, min(lifetime, fresh))
}

func (c *Cache) note(ref oci.Ref, err error, lifetime time.Duration) {
	if err == nil || oci.IsReferrersTag(ref.Tag()) || !oci.IsUnknown(err) && !errors.Is(err, oci.ErrUnusable) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, now := key(ref), time.Now()
	c.errors.Add(k, remembered{err, now, now.Add(lifetime)}, int64(len(k)+len(err.Error()))+lru.ItemOverhead)
}

// Recall returns the error that Note remembers for ref, or nil.
func (c *Cache) Recall(ref oci.Ref) error { return c.RecallWithin(ref, lifetime) }

// RecallWithin is Recall for errors that were noted no longer ago than age.
func (c *Cache) RecallWithin(ref oci.Ref, age time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.errors.Get(key(ref))
	if !ok || !time.Now().Before(r.until) || time.Since(r.at) > age {
		return nil
	}
	return r.err
}

// Noted is when an error was last noted for ref; zero if that is not known any more.
func (c *Cache) Noted(ref oci.Ref) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, _ := c.errors.Get(key(ref))
	return r.at
}

func key(ref oci.Ref) string { return ref.Kind().String() + " " + ref.String() }
