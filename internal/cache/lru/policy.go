// Package lru orders cached items by their last use and counts their bytes. Its
// types have no lock: the caller holds one during every call.
package lru

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mirrord/internal/oci"
)

// Policy is a cache.Policy whose victim is the least recently used blob. It evicts
// nothing itself: a blob stays until Remove. Not safe for concurrent use.
type Policy struct {
	order *simplelru.LRU[oci.Digest, int64] // the value is the size
	bytes int64
}

// NewPolicy returns an empty Policy.
func NewPolicy() *Policy {
	return &Policy{order: unbounded[oci.Digest, int64]()}
}

// Add adds d, of size bytes, as the most recently used. If d is known already, its
// size and recency are updated.
func (p *Policy) Add(d oci.Digest, size int64) {
	if old, ok := p.order.Peek(d); ok {
		p.bytes -= old
	}
	p.order.Add(d, size)
	p.bytes += size
}

// Touch makes d the most recently used. An unknown d is ignored.
func (p *Policy) Touch(d oci.Digest) { p.order.Get(d) }

// Remove removes d. An unknown d is ignored.
func (p *Policy) Remove(d oci.Digest) {
	if size, ok := p.order.Peek(d); ok {
		p.order.Remove(d)
		p.bytes -= size
	}
}

// Victim returns the least recently used digest, and false when there is none. It
// stays until Remove.
func (p *Policy) Victim() (oci.Digest, bool) {
	d, _, ok := p.order.GetOldest()
	return d, ok
}

// Bytes returns the sum of the sizes.
func (p *Policy) Bytes() int64 { return p.bytes }

// Len returns the number of digests.
func (p *Policy) Len() int { return p.order.Len() }

// unbounded returns an LRU that never evicts on its own: simplelru limits the number
// of entries, and the types here limit bytes. The limit allocates no memory.
func unbounded[K comparable, V any]() *simplelru.LRU[K, V] {
	order, err := simplelru.NewLRU[K, V](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return order
}
