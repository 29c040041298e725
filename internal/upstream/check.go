package upstream

import (
	"context"
	"fmt"
	"net/http"
)

// Check asks the upstream for /v2/, reads every login, and says for each member
// why it gives nothing now; nil: nothing is known against it. It costs no pull.
// It may be called concurrently.
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

// Reach asks the registry for /v2/, whatever is known of its host, and says why
// there is no answer.
func (b *Breakers) Reach(ctx context.Context) error {
	ctx = withOperation(ctx, Ping)
	req := &http.Request{Method: http.MethodGet, URL: apiURL(b.opts.URL, "", ""), Header: http.Header{"User-Agent": {userAgent}}}
	resp, err := b.opts.Next.RoundTrip(req.WithContext(ctx))
	if err == nil {
		defer discard(resp)
	}
	return hostFailure(ctx, resp, err)
}
