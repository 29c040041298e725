package ratelimit

import (
	"context"
	"strings"
	"time"

	"mirrord/internal/oci"
)

// Shared is a budget that other mirrors spend from, too. An account is who the upstream
// counts the pulls of. Methods may be called concurrently.
type Shared interface {
	// Take takes a pull. It fails with an *oci.LimitError when there is none, or when
	// ctx ends. A pull that may not use the reserve leaves that to images that were
	// never pulled.
	Take(ctx context.Context, account string, mayUseReserve bool) error

	// Told notes how a request has ended. It sends nothing and does not wait.
	Told(account string, o Outcome)

	// Known returns what is known of the account from all mirrors; nothing is sent.
	Known(account string) Budget
}

// Outcome is how a request has ended.
type Outcome struct {
	Pull     bool            // it was a manifest GET, which Take has let through
	Sent     time.Time       // when the request was sent
	Received time.Time       // when its response came, or it failed
	Answered bool            // there was a response that says something about the limit
	Limited  *oci.LimitError // which is that it is reached; nil: it is not
	Reported bool            // the response has told the Budget, or more than a later one has
	Budget   Budget          // of the credential alone, after it
}

// sharing is how a Transport shares its budget. The zero sharing is not at all.
type sharing struct {
	with Shared
	user func() string
}

// Share makes the Transport spend from what others spend from, too. user returns the user
// name of the credential's login, empty if it has none or it is not known yet.
func (t *Transport) Share(with Shared, user func() string) {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	t.sharing = sharing{with, user}
}

// shared returns the budget that is shared and the account, or nil while it is not known
// who the upstream counts the pulls of.
func (t *Transport) shared() (Shared, string) {
	t.upstream.mu.Lock()
	share, source := t.sharing, t.report.source
	t.upstream.mu.Unlock()
	if share.with == nil {
		return nil, ""
	}
	if user := share.user(); user != "" {
		return share.with, userPrefix + user
	}
	if source != "" {
		return share.with, sourcePrefix + source
	}
	return nil, ""
}

// Prefixes of accounts.
const (
	userPrefix   = "user "
	sourcePrefix = "source "
)

// take takes an admitted request from the shared budget, and leaves the gates as they are
// when it may not be sent. Only a pull waits for what other mirrors know.
func (t *Transport) take(ctx context.Context, p admission, pull bool) (err error) {
	with, account := t.shared()
	if with == nil {
		return nil
	}
	if pull {
		err = with.Take(ctx, account, oci.MayUseReserve(ctx))
	} else if known := with.Known(account); !known.RequestsAt.IsZero() {
		err = known.Reserved(0)
	}
	if err != nil {
		t.upstream.mu.Lock()
		defer t.upstream.mu.Unlock()
		t.upstream.all.endProbe(p.probesAll, false)
		t.pulls.endProbe(p.probesPulls, false)
	}
	return err
}

// tell tells how a request has ended to those that share the budget. A limit of requests is
// one of this mirror's address, which others with its login do not have.
func (t *Transport) tell(o Outcome) {
	with, account := t.shared()
	if with == nil {
		return
	}
	if o.Limited != nil && o.Limited.Kind == oci.LimitRequests && strings.HasPrefix(account, userPrefix) {
		o.Limited, o.Answered = nil, false
	}
	with.Told(account, o)
}

// withShared returns b as the mirrors together know it, where they know of less.
func (b Budget) withShared(all Budget) Budget {
	if all.Known() && (!b.Known() || all.Remaining < b.Remaining) {
		b.Limit, b.Window, b.Remaining, b.ResetBy, b.Observed = all.Limit, all.Window, all.Remaining, all.ResetBy, all.Observed
	}
	b.PullsAt, b.RequestsAt = later(b.PullsAt, all.PullsAt), later(b.RequestsAt, all.RequestsAt)
	b.Shared = all.Shared
	return b
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
