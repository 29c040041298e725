package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

const (
	publicTime  = 10 * time.Minute // after which a public repository is asked about again
	privateTime = time.Minute      // and a private one, or one that does not exist
	retryTime   = time.Minute      // for which it is not asked about again when that fails
	publicMost  = 24 * time.Hour   // for which one stays public that the upstream neither shows nor refuses any more
)

// scope is whose content a digest is: that of a private repository, or, as the zero
// scope, everybody's.
type scope struct{ upstream, repository string }

var public = scope{}

// probe is a question without a login: for content, or for the tags of a repository.
type probe struct {
	upstream, repository string
	ref                  oci.Ref // zero: for the tags
}

// admit returns the scope in which ref is asked for, or fails when the client may not
// have that.
func (r *Registry) admit(ctx context.Context, ref oci.Ref) (scope, error) {
	s, err := r.scopeOf(ctx, probe{ref.Upstream(), ref.Repository(), ref}, ref.Tag())
	if err == nil && s != public && ref.ByDigest() {
		err = r.checkAccess(ctx, s, ref)
	}
	return s, r.refuse(ctx, ref.Upstream(), ref.Repository(), ref.Reference(), err)
}

// admitList is admit for a list. What an upstream lists is cached for no longer than
// access is assumed.
func (r *Registry) admitList(ctx context.Context, q oci.Listing) (scope, error) {
	s, err := r.scopeOf(ctx, probe{upstream: q.Upstream(), repository: q.Repository()}, "")
	return s, r.refuse(ctx, q.Upstream(), q.Repository(), "", err)
}

// refuse reports a denial, and returns err.
func (r *Registry) refuse(ctx context.Context, upstream, repository, reference string, err error) error {
	if errors.Is(err, errPrivate) && r.opts.Hooks.Refused != nil {
		r.opts.Hooks.Refused(ctx, upstream, repository, reference, err)
	}
	return err
}

var errPrivate = errors.New("it is private")

func (r *Registry) scopeOf(ctx context.Context, p probe, tag string) (scope, error) {
	isPublic, err := r.isPublic(ctx, p)
	switch {
	case isPublic:
		return public, nil
	case r.grants(ctx, p.upstream, p.repository, tag):
		return scope{p.upstream, p.repository}, nil
	case err != nil:
		return public, err
	}
	return public, r.denial(p)
}

func (r *Registry) denial(p probe) error {
	why := "no rule of this mirror allows it to this client: ask its operator (access.private is rules)"
	if r.opts.Policy() == Deny {
		why = "this mirror serves public images only: pull it from " + p.upstream + " itself (access.private is deny)"
	}
	return &oci.Error{Code: oci.Denied, Message: fmt.Sprintf("%s/%s is private or does not exist, and %s", p.upstream, p.repository, why), Err: errPrivate}
}

// isPublic reports whether a repository is public. It fails when that is not known and
// cannot be found out, or when the upstream does not have what was asked for.
func (r *Registry) isPublic(ctx context.Context, p probe) (bool, error) {
	known, ok := r.facts.get(fact{upstream: p.upstream, repository: p.repository})
	if !ok && !r.opts.MayLogIn(p.upstream) {
		return true, nil
	}
	if ok && (known.current() || within(known.asked, retryTime) && within(known.checked, publicMost)) {
		return known.public, nil
	}
	silence := call.Endless
	if limit := r.limits.Load().MaxSilence; ok && limit > 0 {
		silence = limit
	}
	if ok {
		r.facts.noteAsked(fact{upstream: p.upstream, repository: p.repository})
	}
	err := r.ask(ctx, p, silence)
	switch {
	case err == nil:
		return true, nil
	case isDenied(err):
		return false, nil
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, oci.ErrLoop): // which the client may have made up, to get what was known
		return false, err
	case ok && (within(known.checked, publicMost) || oci.Temporary(err) && within(known.checked, r.limits.Load().MaxStale)):
		return known.public, nil
	case oci.Temporary(err):
		return false, oci.Errorf(oci.Unavailable, "cannot find out whether %s/%s is public: %w", p.upstream, p.repository, err)
	}
	return false, err
}

// current reports whether it is not yet to be asked again whether a repository is public.
func (s state) current() bool {
	if s.public {
		return within(s.checked, publicTime)
	}
	return within(s.checked, privateTime)
}

// within reports whether t was no longer ago than that. It is not when it is to come: the
// clock has been set back, perhaps by much.
func within(t time.Time, limit time.Duration) bool {
	age := time.Since(t)
	return age >= 0 && age < limit
}

// isDenied reports whether err says that a repository is private, or does not exist.
func isDenied(err error) bool {
	code := oci.CodeOf(err)
	return code == oci.Denied || code == oci.NameUnknown
}

// ask asks the upstream without a login, and notes what that says of the repository: nil
// when it is public.
func (r *Registry) ask(ctx context.Context, p probe, silence time.Duration) error {
	if err := r.hidden.Recall(p.ref); err != nil {
		return err
	}
	return askOnce(ctx, r.probes, p, silence, func(ctx context.Context) error {
		err := send(ctx, r.opts.Anonymous[p.upstream], p)
		r.noteProbe(p, err)
		return err
	})
}

func send(ctx context.Context, anonymous oci.Registry, p probe) error {
	if p.ref != (oci.Ref{}) {
		return exists(ctx, anonymous, p.ref)
	}
	q, err := oci.ParseTags(p.upstream, p.repository, "n=1")
	if err == nil {
		_, err = anonymous.List(ctx, q)
	}
	return err
}

func (r *Registry) noteProbe(p probe, err error) {
	switch {
	case err == nil:
		r.facts.put(fact{upstream: p.upstream, repository: p.repository}, state{public: true, checked: time.Now()})
		if p.ref.ByDigest() {
			r.facts.put(fact{digest: p.ref.Digest()}, state{})
		}
	case isDenied(err):
		r.facts.noteRefused(fact{upstream: p.upstream, repository: p.repository})
	case p.ref != (oci.Ref{}):
		r.hidden.Note(p.ref, err)
	}
}

// checkAccess fails when the upstream does not let its login have ref, by digest, of a
// private repository any more. It asks unless it did a moment ago.
func (r *Registry) checkAccess(ctx context.Context, s scope, ref oci.Ref) error {
	known, _ := r.facts.get(fact{upstream: s.upstream, repository: s.repository})
	if within(known.allowed, r.limits.Load().Fresh) {
		return nil
	}
	err := r.askMember(ctx, s, ref)
	if err != nil && ctx.Err() == nil && isOutage(err) && within(known.allowed, r.limits.Load().MaxStale) {
		return nil
	}
	if err != nil {
		r.noteDenial(s, err)
	}
	return err
}

// isOutage reports whether err leaves open what the upstream would say: not when it
// refuses the login, and not because of mirrors that a client may have made up.
func isOutage(err error) bool {
	return oci.Temporary(err) && !errors.Is(err, oci.ErrLogin) && !errors.Is(err, oci.ErrLoop)
}

// noteDenial notes that the upstream does not let its login have a private repository.
func (r *Registry) noteDenial(s scope, err error) {
	if s != public && isDenied(err) && !errors.Is(err, errPrivate) {
		r.facts.update(fact{upstream: s.upstream, repository: s.repository}, func(s *state) { s.allowed = time.Time{} })
	}
}
