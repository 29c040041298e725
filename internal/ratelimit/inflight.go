package ratelimit

import (
	"context"
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
	counts map[oci.ClientKey]int
}

// NewInFlight returns an InFlight that allows each client limit requests; 0 means
// no limit.
func NewInFlight(limit int) *InFlight {
	return &InFlight{limit: limit, counts: make(map[oci.ClientKey]int)}
}

// Enter counts a request of the client of ctx, see oci.ClientOf; the caller calls
// Leave when it has ended. Enter fails with an *oci.LimitError, and counts nothing,
// when the client has reached the limit.
func (f *InFlight) Enter(ctx context.Context) error {
	client := oci.ClientOf(ctx).Key()
	if f.limit == 0 || client == (oci.ClientKey{}) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[client] >= f.limit {
		return &oci.LimitError{Kind: oci.LimitInFlight, Client: client.String(), Limit: f.limit, RetryAt: time.Now().Add(time.Second)}
	}
	f.counts[client]++
	return nil
}

// Leave uncounts a request that Enter has counted.
func (f *InFlight) Leave(ctx context.Context) {
	client := oci.ClientOf(ctx).Key()
	if f.limit == 0 || client == (oci.ClientKey{}) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts[client]--; f.counts[client] == 0 {
		delete(f.counts, client)
	}
}
