package membership

import (
	"context"
	"errors"
	"io"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/oci"
)

// confirm fails unless what was found for ref, in scope s, is known to be of its
// repository, or of a public one: because the upstream has named or sent it for that, or
// by asking.
func (r *Registry) confirm(ctx context.Context, s scope, ref oci.Ref, found oci.Result) error {
	at := ref.At(found.Digest)
	switch {
	case !ref.ByDigest() && s != public && found.Via == oci.Stale:
		return r.checkAccess(ctx, s, at) // it may be stale because the login is refused
	case !ref.ByDigest() || found.Source == at:
		r.noteMember(s, found.Digest, answered(ref, found))
		return nil
	case r.isMember(s, at):
		return nil
	case r.isPublicSource(found.Source):
		r.noteMember(public, found.Digest, false)
		return nil
	case r.isElsewhere(at):
		return errElsewhere
	}
	return r.askMember(ctx, s, at)
}

// errElsewhere says that content is known as private content of another upstream: that
// this one claims to have it is not enough, it has to send it.
var errElsewhere = errors.New("private content of another upstream")

// isElsewhere reports whether ref, by digest, is known as private content of another
// upstream.
func (r *Registry) isElsewhere(ref oci.Ref) bool {
	for upstream := range r.opts.Anonymous {
		if upstream != ref.Upstream() && r.facts.owns(upstream, ref.Digest()) {
			return true
		}
	}
	return false
}

// openThere opens ref, by digest, at its upstream and not in the cache. Who reads all of
// it has shown that the upstream has it.
func (r *Registry) openThere(ctx context.Context, s scope, ref oci.Ref) (*oci.Content, error) {
	content, err := r.opts.Upstreams.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content.Via = oci.Pass
	content.Body = &witness{content.Body, func() { r.noteMember(s, ref.Digest(), true) }}
	return content, nil
}

// witness calls read when all of a body was read, which is verified then.
type witness struct {
	io.ReadCloser
	read func()
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err == io.EOF {
		w.read()
	}
	return n, err
}

// answered reports whether the upstream has been asked for what was found for ref.
func answered(ref oci.Ref, found oci.Result) bool {
	switch found.Via {
	case oci.Revalidated, oci.Fill, oci.Pass:
		return true
	}
	return false
}

// isMember reports whether ref, by digest, is known to be public, or of the private
// repository s.
func (r *Registry) isMember(s scope, ref oci.Ref) bool {
	if _, ok := r.facts.get(fact{digest: ref.Digest()}); ok {
		return true
	}
	if s == public {
		return false
	}
	_, ok := r.facts.get(fact{s.upstream, s.repository, ref.Digest()})
	return ok
}

// isPublicSource reports whether source, for which content was just fetched, is of a
// repository that is known to be public.
func (r *Registry) isPublicSource(source oci.Ref) bool {
	return source != (oci.Ref{}) && r.isKnownPublic(source.Upstream(), source.Repository())
}

// askMember asks the upstream whether the repository of ref, by digest, has it.
func (r *Registry) askMember(ctx context.Context, s scope, ref oci.Ref) error {
	if err := r.missing.Recall(ref); err != nil {
		return err
	}
	err := askOnce(ctx, r.checks, ref, call.Endless, func(ctx context.Context) error {
		err := exists(ctx, r.opts.Upstreams, ref)
		if err == nil {
			r.noteMember(s, ref.Digest(), true)
		}
		r.missing.Note(ref, err)
		return err
	})
	if err != nil && oci.Temporary(err) && ctx.Err() == nil {
		return oci.Errorf(oci.Unavailable, "cannot find out whether %s/%s has %s: %w", ref.Upstream(), ref.Repository(), ref.Digest(), err)
	}
	return err
}

// exists returns nil if a registry has ref. Many refuse a HEAD without saying why, or it is
// known to be no use: then the GET tells.
func exists(ctx context.Context, registry oci.Registry, ref oci.Ref) error {
	_, err := registry.Resolve(ctx, ref)
	if !errors.Is(err, oci.ErrNeedsGet) {
		return err
	}
	content, err := registry.Open(ctx, ref)
	if err != nil {
		return err
	}
	return content.Close()
}

// askOnce asks once for all who ask the same at the same time. It waits for as long as
// the upstream is silent for less than that.
func askOnce[K comparable](ctx context.Context, group *call.Group[K, struct{}], key K, silence time.Duration, ask func(context.Context) error) error {
	asked, joined := group.Do(key, func(shared context.Context) (struct{}, error) {
		return struct{}{}, ask(oci.Inherit(shared, ctx))
	})
	_, err := asked.Wait(ctx, silence)
	if joined && errors.Is(err, oci.ErrLoop) { // that of another client
		return askOnce(ctx, group, key, silence, ask)
	}
	return err
}

// noteMember notes that d is of s. now says that the upstream has just let its login
// have it.
func (r *Registry) noteMember(s scope, d oci.Digest, now bool) {
	r.facts.put(fact{s.upstream, s.repository, d}, state{})
	if s != public && now {
		r.facts.update(fact{upstream: s.upstream, repository: s.repository}, func(s *state) { s.allowed = time.Now() })
	}
}
