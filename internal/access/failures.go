package access

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

const (
	maxFailures   = 10 // failed logins of one address at once
	failureWindow = time.Minute
	maxAddresses  = 1 << 14 // that are remembered; a forgotten one may fail as often again
)

// failures counts failed logins by client address: a token bucket that allows
// maxFailures and as many in each failureWindow. Methods may be called concurrently.
type failures struct {
	mu       sync.Mutex // guards limiters
	limiters *simplelru.LRU[oci.ClientKey, *rate.Limiter]
}

func newFailures() *failures {
	limiters, err := simplelru.NewLRU[oci.ClientKey, *rate.Limiter](maxAddresses, nil)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &failures{limiters: limiters}
}

// check fails with an *oci.LimitError when the client has failed too often.
func (f *failures) check(client oci.ClientKey) error {
	f.mu.Lock()
	limiter, ok := f.limiters.Get(client)
	f.mu.Unlock()
	if !ok {
		return nil
	}
	now := time.Now()
	missing := 1 - limiter.TokensAt(now)
	if missing <= 0 {
		return nil
	}
	wait := time.Duration(missing / maxFailures * float64(failureWindow))
	return &oci.LimitError{Kind: oci.LimitLogins, Client: client.String(), Limit: maxFailures, Window: failureWindow, RetryAt: now.Add(wait)}
}

// add counts a failure.
func (f *failures) add(client oci.ClientKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limiter, ok := f.limiters.Get(client)
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(maxFailures/failureWindow.Seconds()), maxFailures)
		f.limiters.Add(client, limiter)
	}
	limiter.Allow()
}
