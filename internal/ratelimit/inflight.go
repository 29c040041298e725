package ratelimit

import (
	"context"
	"time"

	"mirrord/internal/oci"
)

// InFlight limits how many requests each client may have in flight, so that one
// client cannot take all of the mirror's capacity. Methods may be called
// concurrently.
type InFlight struct{ requests *count }

// NewInFlight returns an InFlight that allows each client limit requests; 0 means
// no limit.
func NewInFlight(limit int) *InFlight { return &InFlight{newCount(limit)} }

// Enter counts a request of the client of ctx, see oci.ClientOf; the caller calls
// Leave when it has ended. Enter fails with an *oci.LimitError, and counts nothing,
// when the client has reached the limit.
func (f *InFlight) Enter(ctx context.Context) error {
	client := oci.ClientOf(ctx).Key()
	if f.requests.add(client) {
		return nil
	}
	return &oci.LimitError{Kind: oci.LimitInFlight, Client: client.String(), Limit: f.requests.limit, RetryAt: time.Now().Add(time.Second)}
}

// Leave uncounts a request that Enter has counted.
func (f *InFlight) Leave(ctx context.Context) { f.requests.remove(oci.ClientOf(ctx).Key()) }
