package ratelimit

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// InFlight bounds how many requests a client may have under way at once, so
// that one that opens them without end leaves something for the others. It may
// be used concurrently.
type InFlight struct {
	most int

	mu    sync.Mutex // guards under
	under map[netip.Prefix]int
}

// NewInFlight returns an InFlight for most requests of each client; 0 means no
// limit.
func NewInFlight(most int) *InFlight {
	return &InFlight{most: most, under: make(map[netip.Prefix]int)}
}

// Enter counts one more request of the client behind ctx, who then calls Leave.
// It fails with an *oci.LimitError, and counts nothing, when that has as many as
// it may.
func (f *InFlight) Enter(ctx context.Context) error {
	client, ok := oci.ClientOf(ctx)
	if f.most == 0 || !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[client] >= f.most {
		return &oci.LimitError{Kind: oci.LimitInFlight, Client: nameOfClient(client), Limit: f.most, RetryAt: time.Now().Add(time.Second)}
	}
	f.under[client]++
	return nil
}

// Leave ends a request that Enter has counted.
func (f *InFlight) Leave(ctx context.Context) {
	client, ok := oci.ClientOf(ctx)
	if f.most == 0 || !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[client]--; f.under[client] == 0 {
		delete(f.under, client)
	}
}
