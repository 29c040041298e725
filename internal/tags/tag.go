package tags

import (
	"errors"
	"math"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// tag is what is known of one tag.
type tag struct {
	Record
	fresh    time.Duration // how long it is served without asking
	retry    time.Time     // after a failed check or fetch: the upstream is not asked before
	reason   error         // of that failure
	fetching bool          // it was fetching Latest that failed, which may still arrive
	shared   bool          // another mirror has asked the upstream for Latest
	doubted  bool          // and this one could not fetch that: the upstream is asked
}

// retryTime is how long after a failed check or fetch the stale copy is served at
// once.
const retryTime = 10 * time.Second

// freshness is how long ref is served without asking. It calls callbacks, so mu must
// not be held.
func (r *Registry) freshness(ref oci.Ref) time.Duration {
	if r.opts.Fresh == nil {
		return 0
	}
	fresh := r.opts.Fresh(ref)
	if !r.isShared(ref) {
		return fresh
	}
	return r.renewal(ref, fresh)
}

// age is the time since the upstream confirmed t. A check in the future, made
// while the clock was wrong, does not count.
func (t *tag) age(now time.Time) time.Duration {
	if age := now.Sub(t.Checked); age >= 0 {
		return age
	}
	return math.MaxInt64
}

// isFresh reports whether t, which may be nil, is served without asking.
func (t *tag) isFresh(now time.Time) bool {
	return t != nil && t.Refused == "" && !t.doubted && t.age(now) < t.fresh
}

// lastResponse is when the upstream last confirmed or refused t.
func (t *tag) lastResponse() time.Time {
	if t.RefusedAt.After(t.Checked) {
		return t.RefusedAt
	}
	return t.Checked
}

// fail notes that a check of t, or with fetching a fetch of what it names, has
// failed.
func (t *tag) fail(err error, fetching bool) {
	t.retry, t.reason, t.fetching = time.Now().Add(retryTime), err, fetching
}

// reasonFor returns why a stale copy is served instead of what failed with err, as
// a label.
func reasonFor(err error) oci.StaleReason {
	var limit *oci.LimitError
	switch {
	case errors.As(err, &limit):
		return oci.StaleReason(limit.Kind)
	case errors.Is(err, call.ErrSilent):
		return oci.StaleSlow
	case errors.Is(err, oci.ErrOffline):
		return oci.StaleOffline
	}
	return oci.StaleUnavailable
}

// fallback is what is served of a tag while the upstream cannot be asked: a stale
// copy, or with refusal the upstream's last response, a refusal.
type fallback struct {
	oci.Result
	refusal error
}

// because returns the response of f after the upstream has failed with err.
func (f fallback) because(err error) (oci.Result, error) {
	if f.refusal != nil {
		return oci.Result{}, f.refusal
	}
	f.Reason = reasonFor(err)
	return f.Result, nil
}

// fallback returns what is served of t, which may be nil, while the upstream cannot
// be asked. A tag that was deleted does not come back because its registry is
// down, nor does one that was denied: a client that lost access does not regain it
// by cutting a cable. A login that fails denies nothing, it is a failure of the
// upstream. A refusal of a signature is not remembered: it may have been pushed
// since. The caller holds mu.
func (r *Registry) fallback(t *tag) (fallback, bool) {
	if t == nil || t.Refused == "" {
		stale, have := r.staleCopy(t)
		return fallback{Result: stale}, have
	}
	if oci.IsReferrersTag(t.Ref.Tag()) || time.Since(t.RefusedAt) >= r.limits.Load().MaxStale {
		return fallback{}, false
	}
	what := "not found"
	if t.Refused == oci.Denied {
		what = "denied"
	}
	return fallback{refusal: oci.Errorf(t.Refused, "%s: %s at %s, when its registry was last asked; it cannot be asked now",
		t.Ref, what, t.RefusedAt.UTC().Format(time.RFC3339))}, true
}

// staleCopy returns the last thing that t, which may be nil, is known to have
// named, not too long ago, and that is cached. The caller holds mu.
func (r *Registry) staleCopy(t *tag) (oci.Result, bool) {
	if t == nil {
		return oci.Result{}, false
	}
	for _, named := range []struct {
		oci.Descriptor
		confirmed time.Time
	}{{t.Latest, t.Checked}, {t.Previous, t.Confirmed}} {
		if cached, have := r.next.Cached(t.Ref.At(named.Digest)); have && time.Since(named.confirmed) < r.limits.Load().MaxStale {
			return oci.Result{Descriptor: cached, Via: oci.Stale, Checked: named.confirmed}, true
		}
	}
	return oci.Result{}, false
}

// replacement returns the stale copy that is served when d, which the upstream
// says ref names, cannot be fetched. There is none when d is cached. The caller
// holds mu.
func (r *Registry) replacement(ref oci.Ref, d oci.Digest) (oci.Result, bool) {
	stale, have := r.staleCopy(r.tags[ref])
	if !have || stale.Digest == d || r.cached(ref.At(d)) {
		return oci.Result{}, false
	}
	return stale, true
}

// cached reports whether ref, by digest, is cached. The caller may hold mu.
func (r *Registry) cached(ref oci.Ref) bool {
	_, have := r.next.Cached(ref)
	return have
}

// tolerated is how long a silence of the upstream is tolerated by a client for
// which there is a stale copy, or none.
func (r *Registry) tolerated(stale bool) time.Duration {
	if stale && r.limits.Load().MaxSilence > 0 {
		return r.limits.Load().MaxSilence
	}
	return call.Endless
}
