package lru

import "github.com/hashicorp/golang-lru/v2/simplelru"

// ItemOverhead is how many bytes an item takes in memory besides its content: its
// key, its places in a map and a list, and headers.
const ItemOverhead = 512

// Bytes holds the most recently used values, up to a maximum sum of their sizes. Not
// safe for concurrent use.
type Bytes[V any] struct {
	order *simplelru.LRU[string, sized[V]]
	max   int64
	size  int64
}

type sized[V any] struct {
	value V
	size  int64
}

// NewBytes returns an empty Bytes for max bytes; with zero it stores nothing.
func NewBytes[V any](max int64) *Bytes[V] {
	return &Bytes[V]{order: unbounded[string, sized[V]](), max: max}
}

// Get returns the value of key and makes it the most recently used.
func (b *Bytes[V]) Get(key string) (V, bool) {
	item, ok := b.order.Get(key)
	return item.value, ok
}

// Peek returns the value of key and leaves the order as it is.
func (b *Bytes[V]) Peek(key string) (V, bool) {
	item, ok := b.order.Peek(key)
	return item.value, ok
}

// Add stores v, of size bytes, as the most recently used, and drops the least
// recently used values until the rest fits. It replaces the value of key. A value
// that is larger than the maximum is not stored.
func (b *Bytes[V]) Add(key string, v V, size int64) {
	b.Remove(key)
	if size > b.max {
		return
	}
	b.order.Add(key, sized[V]{value: v, size: size})
	b.size += size
	for b.size > b.max {
		_, oldest, _ := b.order.RemoveOldest()
		b.size -= oldest.size
	}
}

// Remove removes key. An unknown key is ignored.
func (b *Bytes[V]) Remove(key string) {
	if item, ok := b.order.Peek(key); ok {
		b.order.Remove(key)
		b.size -= item.size
	}
}

// Len returns the number of values.
func (b *Bytes[V]) Len() int { return b.order.Len() }

// Size returns the sum of the sizes in bytes.
func (b *Bytes[V]) Size() int64 { return b.size }
