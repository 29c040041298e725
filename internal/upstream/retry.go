package upstream

import (
	"context"
	"net/http"
	"time"

	"mirrord/internal/oci"
)

// maxRenewals is how often one request is sent again with another token: when the old
// one has expired, and when the registry has moved its token service.
const maxRenewals = 2

// pauses are the waits before a fresh token that was refused is sent again: the
// clocks of a registry and its token service may differ a little, or the registry may
// not know a new key yet. Times in a token are whole seconds, so the pauses add up to
// more than one. After the last one another token is used.
var pauses = []time.Duration{300 * time.Millisecond, 900 * time.Millisecond}

// attempts is what was tried for one request.
type attempts struct {
	permission       permission // of the token
	renewals, pauses int
}

// adoptPermission reports whether a list requires another permission than a pull,
// which is used from now on.
func (a *attempts) adoptPermission(q request, refused *refusal) bool {
	other := permission{q.repository, metadataAction}
	if q.list == (oci.Listing{}) || a.permission == other || !refused.requires(other) {
		return false
	}
	a.permission = other
	return true
}

// prepareRetry prepares to send q again after its authorization was refused, or
// returns why not. Only insufficient_scope, or an authoritative refusal of the same
// token sent again, is about the content; everything else is temporary.
func (r *Registry) prepareRetry(ctx context.Context, q request, sent authorization, refused *refusal, a *attempts) error {
	_, hasChallenge := choose(refused.challenges)
	if !refused.fromRegistry || !ofAuthorization(refused, sent) || refused.html && !hasChallenge {
		return r.refusalError(q, refused)
	}
	if a.adoptPermission(q, refused) {
		return nil
	}
	changed, foreign := r.tokens.updateChallenge(ctx, refused.challenges, sent)
	if a.renewals < maxRenewals && (changed || a.renewals == 0 && !sent.fresh()) {
		a.renewals++
		r.tokens.drop(a.permission, sent)
		if !hasChallenge && sent.header == "" {
			r.tokens.invalidateChallenge() // it requires a login now, and does not say which
		}
		return nil
	}
	switch {
	case foreign != nil:
		return r.tokens.exchangeError("rejected its token service", foreign)
	case sent.header == "":
		refused.authoritative = refused.authoritative || hasChallenge // there is no login that it might accept
		return r.refusalError(q, refused)
	case sent.key == basic:
		return r.loginError(ctx, q, sent, refused, a)
	case refused.code != http.StatusUnauthorized, q.operation == BlobHead: // a GET shows it, and is free
		return r.refusalError(q, refused)
	case refused.reason() == insufficientScope:
		r.tokens.drop(a.permission, sent)
		return r.refusalError(q, refused)
	}
	return r.pause(ctx, q, sent, refused, a)
}

// ofAuthorization reports whether a request may have been refused for its
// authorization. Amazon's registries respond 400 or 403 to an expired one, without a
// challenge.
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

// loginError is the error of a registry that refuses the login, or denies it the
// content.
func (r *Registry) loginError(ctx context.Context, q request, sent authorization, refused *refusal, a *attempts) error {
	if err := r.tokens.checkBasic(ctx, sent, refused); err != nil {
		r.tokens.drop(a.permission, sent)
		return err
	}
	refused.authoritative = true
	return r.refusalError(q, refused)
}

// pause waits before a fresh token that was refused is sent again, and gives up after
// the last of pauses. It gives up after the first one when the refusal is
// authoritative, as quay.io and Harbor send it for missing repositories, or when a
// GET may tell more than this HEAD.
func (r *Registry) pause(ctx context.Context, q request, sent authorization, refused *refusal, a *attempts) error {
	conclusive := refused.reason() == "" && (refused.authoritative && len(refused.codes) > 0 || q.method == http.MethodHead)
	switch {
	case conclusive && a.pauses > 0:
		return r.refusalError(q, refused)
	case a.pauses == len(pauses):
		r.tokens.drop(a.permission, sent)
		return oci.Errorf(oci.Unavailable, "%s refuses a token that its token service has just issued: is one of their clocks wrong?%s", r.opts.Name, refused.message)
	}
	select {
	case <-time.After(pauses[a.pauses]):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if a.pauses++; a.pauses == len(pauses) {
		r.tokens.drop(a.permission, sent)
	}
	return nil
}
