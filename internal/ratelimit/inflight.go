package ratelimit

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// InFlight limits how many requests each client may have in flight, so that one
// client cannot take all of the mirror's capacity. Methods may be called
// concurrently.
type InFlight struct {
	limit int

	mu     sync.Mutex // guards counts
	counts map[netip.Prefix]int
}

// NewInFlight returns an InFlight that allows each client limit requests; 0 means
// no limit.
func NewInFlight(limit int) *InFlight {
	return &InFlight{limit: limit, counts: make(map[netip.Prefix]int)}
}

// Enter counts a request of the client of ctx, see oci.ClientOf; the caller calls
// Leave when it has ended. Enter fails with an *oci.LimitError, and counts nothing,
// when the client has reached the limit.
func (f *InFlight) Enter(ctx context.Context) error {
	client, ok := oci.ClientOf(ctx)
	if f.limit == 0 || !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[client] >= f.limit {
		return &oci.LimitError{Kind: oci.LimitInFlight, Client: nameOfClient(client), Limit: f.limit, RetryAt: time.Now().Add(time.Second)}
	}
	f.counts[client]++
	return nil
}

// Leave uncounts a request that Enter has counted.
func (f *InFlight) Leave(ctx context.Context) {
	client, ok := oci.ClientOf(ctx)
	if f.limit == 0 || !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[client]--; f.counts[client] == 0 {
		delete(f.counts, client)
	}
}
