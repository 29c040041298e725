package upstream

import (
	"context"
	"net/http"
	"time"

	"mirrord/internal/oci"
)

// maxRenewals is how often one request is sent with another token: when the old
// one has expired, and when the registry has moved its token service.
const maxRenewals = 2

// pauses are waited before a fresh token that was refused is sent again: the
// clocks of a registry and of its token service differ by a little, or the
// registry has not heard of a new key yet. The times in a token are in whole
// seconds, so together they are more than one. After the last one it is another
// token.
var pauses = []time.Duration{300 * time.Millisecond, 900 * time.Millisecond}

// attempts counts what was tried for one request.
type attempts struct{ renewals, pauses int }

// prepareRetry reports whether to send q again after what was sent with it was refused,
// or why not. Only a registry that says insufficient_scope, or by its
// own word refuses again what it was sent again, says that the content cannot be
// had: everything else is temporary.
func (r *Registry) prepareRetry(ctx context.Context, q request, sent authorization, refused *refusal, a *attempts) error {
	_, hasChallenge := choose(refused.challenges)
	if !refused.fromRegistry || !ofAuthorization(refused, sent) || refused.html && !hasChallenge {
		return r.refusalError(q, refused)
	}
	changed, foreign := r.tokens.updateChallenge(ctx, refused.challenges, sent)
	if a.renewals < maxRenewals && (changed || a.renewals == 0 && !sent.fresh()) {
		a.renewals++
		r.tokens.drop(q.repository, sent)
		if !hasChallenge && sent.header == "" {
			r.tokens.invalidateChallenge() // it wants a login now, and does not say which
		}
		return nil
	}
	switch {
	case foreign != nil:
		return r.tokens.exchangeError("rejected its token service", foreign)
	case sent.header == "":
		refused.authoritative = refused.authoritative || hasChallenge // there is no login that it might let in
		return r.refusalError(q, refused)
	case sent.key == basic:
		return r.loginError(ctx, q, sent, refused)
	case refused.code != http.StatusUnauthorized, q.operation == BlobHead: // a GET tells, and is free
		return r.refusalError(q, refused)
	case refused.reason() == insufficientScope:
		r.tokens.drop(q.repository, sent)
		return r.refusalError(q, refused)
	}
	return r.pause(ctx, q, sent, refused, a)
}

// ofAuthorization reports whether what was sent may have been refused for its
// authorization. Amazon's registries say 400 or 403 of one that has expired, and
// no challenge.
func ofAuthorization(refused *refusal, sent authorization) bool {
	switch refused.code {
	case http.StatusUnauthorized:
		return true
	case http.StatusForbidden:
		return refused.authoritative && sent.header != ""
	case http.StatusBadRequest:
		return refused.has("DENIED", "UNAUTHORIZED") && !sent.fresh()
	}
	return false
}

// loginError is that of a registry which refuses the login, or content to it.
func (r *Registry) loginError(ctx context.Context, q request, sent authorization, refused *refusal) error {
	if err := r.tokens.checkBasic(ctx, sent, refused); err != nil {
		r.tokens.drop(q.repository, sent)
		return err
	}
	refused.authoritative = true
	return r.refusalError(q, refused)
}

// pause waits before a fresh token that was refused is sent again, and gives up
// after the last of pauses: after the first when the registry says by its own
// word that it refuses, as quay.io and Harbor do of what does not exist, or when
// a GET may tell what this HEAD does not.
func (r *Registry) pause(ctx context.Context, q request, sent authorization, refused *refusal, a *attempts) error {
	conclusive := refused.reason() == "" && (refused.authoritative && len(refused.codes) > 0 || q.method == http.MethodHead)
	switch {
	case conclusive && a.pauses > 0:
		return r.refusalError(q, refused)
	case a.pauses == len(pauses):
		r.tokens.drop(q.repository, sent)
		return oci.Errorf(oci.Unavailable, "%s refuses a token that its token service has just issued: is one of their clocks wrong?%s", r.opts.Name, refused.message)
	}
	select {
	case <-time.After(pauses[a.pauses]):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if a.pauses++; a.pauses == len(pauses) {
		r.tokens.drop(q.repository, sent)
	}
	return nil
}
