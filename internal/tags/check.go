package tags

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// resolve returns what ref names: what is known while that is fresh, then what the
// upstream says. When the upstream cannot be asked, the fallback decides. When a
// pull for a newer manifest is better saved, it is the stale copy, Via stale.
func (r *Registry) resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	r.mu.Lock()
	result, err := r.known(ctx, ref)
	if !errors.Is(err, errUnknown) {
		r.mu.Unlock()
		return r.savePull(ctx, ref, result), err
	}
	last, have := r.fallback(r.tags[ref])
	revalidating := have && !oci.NoCache(ctx) && r.servedWhileChecked(r.tags[ref])
	check, joined := r.startCheck(ctx, ref)
	r.mu.Unlock()
	if revalidating {
		last.Reason = oci.StaleRefreshing
		return last.Result, nil
	}
	result, err = check.Wait(ctx, r.tolerated(have))
	switch {
	case err == nil && result.Via == oci.Shared && oci.NoCache(ctx):
		return r.resolve(ctx, ref) // it has joined the check of one to whom that suffices
	case err == nil:
		return r.savePull(ctx, ref, r.asKnown(ref, result)), nil
	case joined && concernsOne(err):
		return r.resolve(ctx, ref) // the client was the other one
	case !have || !oci.Temporary(err) || ctx.Err() != nil:
		return oci.Result{}, err
	}
	return last.because(err)
}

// errUnknown says that the upstream has to be asked.
var errUnknown = errors.New("the upstream has to be asked")

// demandEvery is how often clients can demand that the upstream is asked for a tag.
const demandEvery = time.Second

// known returns the response to ref where the upstream need not be asked, or
// errUnknown. The caller holds mu.
func (r *Registry) known(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	now, t := time.Now(), r.tags[ref]
	remembered := time.Duration(math.MaxInt64)
	if oci.NoCache(ctx) {
		remembered = demandEvery
	}
	fresh := t.isFresh(now) && t.age(now) < remembered && !(t.shared && oci.NoCache(ctx))
	if fresh {
		if known, have := r.next.Available(ref.At(t.Latest.Digest)); have {
			return oci.Result{Descriptor: known.Descriptor, Via: oci.Hit}, nil
		}
	}
	if last, have := r.fallback(t); have && now.Before(t.retry) && !(t.fetching && r.cached(ref.At(t.Latest.Digest))) {
		return last.because(t.reason)
	}
	if fresh {
		return oci.Result{Descriptor: t.Latest, Via: oci.Known}, nil
	}
	return oci.Result{}, cmp.Or(r.missing.RecallWithin(ref, remembered), errUnknown)
}

// servedWhileChecked reports whether t, which is no longer fresh, is served while
// the upstream is asked. The caller holds mu.
func (r *Registry) servedWhileChecked(t *tag) bool {
	return t.Refused == "" && r.cached(t.Ref.At(t.Latest.Digest)) && t.age(time.Now()) < t.fresh+r.limits.Load().Revalidate
}

// savePull returns result, or the stale copy of the tag where what result names
// would have to be fetched and the quota is better saved.
func (r *Registry) savePull(ctx context.Context, ref oci.Ref, result oci.Result) oci.Result {
	if r.opts.Quota == nil || result.Digest == "" {
		return result
	}
	if r.next.InFlight(ref.At(result.Digest)) { // asked first: what has landed since has no replacement
		return result
	}
	r.mu.Lock()
	stale, have := r.replacement(ref, result.Digest)
	r.mu.Unlock()
	if !have {
		return result
	}
	if err := r.opts.Quota.Save(ctx, ref.At(result.Digest)); err != nil {
		stale.Reason = reasonFor(err)
		return stale
	}
	return result
}

// refusedByQuota reports whether err is the mirror's own decision about a pull,
// and says nothing about the upstream.
func refusedByQuota(err error) bool {
	var limit *oci.LimitError
	return errors.As(err, &limit) && (limit.Kind == oci.LimitReserve || limit.Kind == oci.LimitClient)
}

// concernsOne reports whether err is about the client for which the upstream was asked:
// its quota, or the mirrors that its request says it has passed through.
func concernsOne(err error) bool { return refusedByQuota(err) || errors.Is(err, oci.ErrLoop) }

// startCheck returns the check of ref that is in flight, or starts one. Where that
// costs a pull, the client behind payer is charged. The caller holds mu.
func (r *Registry) startCheck(payer context.Context, ref oci.Ref) (c *call.Call[oci.Result], joined bool) {
	var after func()
	return r.checks.DoThen(ref, func(ctx context.Context) (result oci.Result, err error) {
		ctx = oci.Inherit(ctx, payer)
		result, after, err = r.check(ctx, payer, ref)
		return result, err
	}, func() { after() })
}

// check asks the upstream what ref names and moves the tag. after is what no
// waiter waits for: writing to the index, or the report of a failure.
func (r *Registry) check(ctx, payer context.Context, ref oci.Ref) (result oci.Result, after func(), err error) {
	result, err = r.askUpstream(ctx, payer, ref)
	if concernsOne(err) {
		return result, func() {}, err
	}
	fresh := r.freshness(ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tags[ref]
	r.countCheck(t, result, err)
	r.missing.NoteTag(ref, err, fresh)
	switch {
	case err == nil:
		moved := r.moved(ref, result)
		r.move(ref, result, fresh)
		return result, func() { r.index.save(ref); moved() }, nil
	case !oci.Temporary(err) && t != nil:
		t.Refused, t.RefusedAt, t.retry = oci.CodeOf(err), time.Now(), time.Time{}
	case t == nil:
		return result, func() {}, err
	default:
		t.fail(err, false)
		last, have := r.fallback(t)
		return result, func() { r.reportStale(ref, err, have && last.refusal == nil) }, err
	}
	return result, func() { r.index.save(ref) }, err
}

// askUpstream returns what the upstream says ref names, or has said to another mirror,
// described as it is served.
func (r *Registry) askUpstream(ctx, payer context.Context, ref oci.Ref) (oci.Result, error) {
	result, err := r.next.Resolve(oci.WithMaxAge(ctx, r.maxAge(payer, ref)), ref)
	if errors.Is(err, oci.ErrNeedsGet) {
		return r.pull(ctx, payer, ref)
	}
	if err != nil {
		return result, err
	}
	if result.Reason == oci.StaleFallback && r.hasStaleCopy(ref) {
		return result, oci.Errorf(oci.Unavailable, "%s is unavailable; its fallback may name an older %s than the stale copy", ref.Upstream(), ref)
	}
	return r.describe(ref, result)
}

func (r *Registry) hasStaleCopy(ref oci.Ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, have := r.staleCopy(r.tags[ref])
	return have
}

// describe completes the response to a HEAD for ref: of what is cached with the
// cached copy, whatever the HEAD claims (RFC 9110, section 8.6). It fails when the
// manifest is too large to be served, which is not worth a pull.
func (r *Registry) describe(ref oci.Ref, result oci.Result) (oci.Result, error) {
	at := ref.At(result.Digest)
	known, have := r.next.Available(at)
	if have {
		result.Descriptor = known.Descriptor
	}
	switch {
	case result.Via == oci.Stale: // the upstream is a mirror whose own upstream is unavailable
	case result.Via == oci.Shared:
	case have && known.Via == oci.Hit:
		result.Via = oci.Revalidated
	default:
		result.Via = oci.Pass
	}
	return result, oci.CheckSize(ref, result.Size)
}

// reportStale reports that a check has failed with err and that the stale copy is
// served. The end of the mirror is not a failure, nor is that it is offline.
func (r *Registry) reportStale(ref oci.Ref, err error, served bool) {
	if served && r.opts.Hooks.Stale != nil && !r.runner.Stopped() && !errors.Is(err, oci.ErrOffline) {
		r.opts.Hooks.Stale(ref, err)
	}
}

// moved returns what reports that the upstream says ref names result, before that is
// noted: nothing, unless it named something else. What a fallback says may be older. The
// caller holds mu.
func (r *Registry) moved(ref oci.Ref, result oci.Result) (report func()) {
	t := r.tags[ref]
	if t == nil || r.opts.Hooks.Moved == nil || t.Latest.Digest == result.Digest || result.Via == oci.Stale || result.Reason == oci.StaleFallback {
		return func() {}
	}
	previous := t.Latest.Digest
	return func() { r.opts.Hooks.Moved(ref, previous, result.Digest) }
}

// move notes that the upstream says ref names what result describes, which is fresh
// for that long. What it named before is remembered as long as that is cached and
// the other is not. The caller holds mu.
func (r *Registry) move(ref oci.Ref, result oci.Result, fresh time.Duration) {
	d := result.Descriptor
	d.Size = max(d.Size, 0) // a HEAD may not tell the size, and a record has no negative one
	record := Record{Ref: ref, Latest: d, Checked: time.Now()}
	if result.Via == oci.Stale || result.Via == oci.Shared {
		record.Checked = result.Checked
	}
	if result.Reason == oci.StaleFallback { // the upstream is asked again for the next request
		record.Checked = record.Checked.Add(-fresh)
	}
	if stale, have := r.staleCopy(r.tags[ref]); have && stale.Digest != d.Digest {
		record.Previous, record.Confirmed = stale.Descriptor, stale.Checked
	}
	r.tags[ref] = &tag{Record: record, fresh: fresh, shared: result.Via == oci.Shared}
}
