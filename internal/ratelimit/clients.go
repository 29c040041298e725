package ratelimit

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const (
	clientWindow = 6 * time.Hour // Docker Hub's
	maxClients   = 1 << 14       // clients that are remembered; a forgotten one gets a full share again
)

// Clients gives each client a share of the pulls: a token bucket that holds the
// share and refills evenly within six hours. Methods may be called concurrently.
type Clients struct {
	share int

	mu       sync.Mutex // guards limiters
	limiters *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

// NewClients returns Clients with a share of so many pulls each; 0 means no limit.
func NewClients(share int) *Clients {
	limiters, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](maxClients, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &Clients{share: share, limiters: limiters}
}

// Take takes a pull from upstream out of the share of the client of ctx, see
// oci.ClientOf. It fails with an *oci.LimitError when none is left. Without a
// client there is no limit.
func (c *Clients) Take(ctx context.Context, upstream string) error {
	return c.admit(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.AllowN(now, 1) })
}

// Check fails like Take, but takes nothing.
func (c *Clients) Check(ctx context.Context, upstream string) error {
	return c.admit(ctx, upstream, func(l *rate.Limiter, now time.Time) bool { return l.TokensAt(now) >= 1 })
}

// Return returns a pull that Take has taken and that was not spent.
func (c *Clients) Return(ctx context.Context) {
	if client, ok := oci.ClientOf(ctx); ok && c.share > 0 {
		c.limiter(client).AllowN(time.Now(), -1)
	}
}

func (c *Clients) admit(ctx context.Context, upstream string, allows func(*rate.Limiter, time.Time) bool) error {
	client, ok := oci.ClientOf(ctx)
	if c.share == 0 || !ok {
		return nil
	}
	now := time.Now()
	limiter := c.limiter(client)
	if allows(limiter, now) {
		return nil
	}
	return &oci.LimitError{
		Kind: oci.LimitClient, Upstream: upstream, Client: nameOfClient(client),
		Limit: c.share, Window: clientWindow, RetryAt: now.Add(untilOne(limiter, now)),
	}
}

// nameOfClient returns the address of a client, or the IPv6 network that counts as
// one client.
func nameOfClient(client netip.Prefix) string {
	if client.IsSingleIP() {
		return client.Addr().String()
	}
	return client.String()
}

func (c *Clients) limiter(client netip.Prefix) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	limiter, ok := c.limiters.Get(client)
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(float64(c.share)/clientWindow.Seconds()), c.share)
		c.limiters.Add(client, limiter)
	}
	return limiter
}

// untilOne returns the time until the limiter has a whole token.
func untilOne(l *rate.Limiter, now time.Time) time.Duration {
	seconds := (1 - l.TokensAt(now)) / float64(l.Limit())
	return max(minRetry, time.Duration(seconds*float64(time.Second)))
}
