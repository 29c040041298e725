package ratelimit

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

// maxClients is how many clients are remembered; a forgotten one starts with a full
// bucket again.
const maxClients = 1 << 14

// buckets has a token bucket for each client, all of the same size. Methods may be
// called concurrently.
type buckets struct {
	refill rate.Limit
	size   int

	mu       sync.Mutex // guards limiters
	limiters *simplelru.LRU[oci.ClientKey, *rate.Limiter]
}

// newBuckets returns buckets that hold size tokens each and get refill of them back in
// a second.
func newBuckets(refill rate.Limit, size int) *buckets {
	limiters, err := simplelru.NewLRU[oci.ClientKey, *rate.Limiter](maxClients, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &buckets{refill: refill, size: size, limiters: limiters}
}

// of returns the bucket of a client.
func (b *buckets) of(client oci.ClientKey) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, ok := b.limiters.Get(client)
	if !ok {
		limiter = rate.NewLimiter(b.refill, b.size)
		b.limiters.Add(client, limiter)
	}
	return limiter
}
