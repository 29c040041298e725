package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"mirrord/internal/oci"
)

// Check requests /v2/, reads every login, and returns for each member why it cannot
// be used now, or nil. It costs no pull. It may be called concurrently.
func (p *Pool) Check(ctx context.Context) []error {
	problems := make([]error, len(p.opts.Members))
	unreachable := p.opts.Reach(ctx)
	for i, m := range p.opts.Members {
		if unreachable != nil {
			problems[i] = fmt.Errorf("unreachable: %w", unreachable)
		} else if err := m.ReadLogin(ctx); err != nil {
			problems[i] = fmt.Errorf("login failed: %w", err)
		} else if err := p.disabledErr(i); err != nil {
			problems[i] = fmt.Errorf("login failed: %w", err)
		}
	}
	return problems
}

// Reach requests the registry's /v2/, even when its breaker is open, and returns why
// the registry is unavailable, or nil.
func (b *Breakers) Reach(ctx context.Context) error {
	resp, err := b.Ping(ctx)
	if errors.Is(err, oci.ErrOffline) {
		return oci.ErrOffline
	}
	failed := hostFailure(ctx, resp, err)
	if errors.Is(failed, errInconclusive) {
		return err // such as an address that is not allowed
	}
	return failed
}

// Ping requests the registry's /v2/, even when its breaker is open, and returns the
// response. Its body is closed.
func (b *Breakers) Ping(ctx context.Context) (*http.Response, error) {
	ctx = withOperation(ctx, Ping)
	req := &http.Request{Method: http.MethodGet, URL: apiURL(b.opts.URL, "", ""), Header: http.Header{"User-Agent": {userAgent}}}
	resp, err := b.opts.Next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, redact(err)
	}
	discard(resp)
	return resp, nil
}
