// Package lru orders what is cached by its last use and counts its bytes. None
// of its types has a lock: the caller holds one around every call.
package lru

import (
	"math"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mirrord/internal/oci"
)

// Policy is a cache.Policy: the victim is what was used longest ago. It only
// orders; nothing leaves it but by Remove. Not safe for concurrent use.
type Policy struct {
	order *simplelru.LRU[oci.Digest, int64] // the value is the size
	bytes int64
}

// NewPolicy returns an empty Policy.
func NewPolicy() *Policy {
	return &Policy{order: unbounded[oci.Digest, int64]()}
}

// Add puts d in as the most recently used, with its size in bytes; for one
// that is in already both are renewed.
func (p *Policy) Add(d oci.Digest, size int64) {
	if old, ok := p.order.Peek(d); ok {
		p.bytes -= old
	}
	p.order.Add(d, size)
	p.bytes += size
}

// Touch makes d the most recently used. An unknown one is no error.
func (p *Policy) Touch(d oci.Digest) { p.order.Get(d) }

// Remove forgets d. An unknown one is no error.
func (p *Policy) Remove(d oci.Digest) {
	if size, ok := p.order.Peek(d); ok {
		p.order.Remove(d)
		p.bytes -= size
	}
}

// Victim returns what was used longest ago, and false when there is nothing.
// It stays until Remove.
func (p *Policy) Victim() (oci.Digest, bool) {
	d, _, ok := p.order.GetOldest()
	return d, ok
}

// Bytes is the sum of the sizes.
func (p *Policy) Bytes() int64 { return p.bytes }

// Len is the number of digests.
func (p *Policy) Len() int { return p.order.Len() }

// unbounded returns an LRU that evicts nothing of itself: simplelru bounds the
// number of entries, the types here bound bytes. The bound reserves no memory.
func unbounded[K comparable, V any]() *simplelru.LRU[K, V] {
	order, err := simplelru.NewLRU[K, V](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return order
}
