// Package membership is a Registry that keeps private content from those who may not
// have it. The cache below it serves content by digest, whoever it was fetched for: that
// is right for public content, and a leak when an upstream is used with a login.
//
// A repository is public when the upstream lets a request without a login have something
// of it, and private when it refuses one. What was named, sent or confirmed by the
// upstream for a public repository is public, and served under any name. All other
// content is served under a name only after the upstream has said that this repository
// has it, and under that of a private one only to clients that a rule grants it, and only
// as long as the upstream goes on letting the mirror's login have it. What is not known,
// such as after the loss of the index, is asked for again: by HEAD, which costs no pull,
// unless a registry refuses that without a reason.
//
// Manifests that merely refer to a digest prove nothing: anybody can push one.
package membership

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"mirrord/internal/call"
	"mirrord/internal/negative"
	"mirrord/internal/oci"
)

// Policy says who gets private content.
type Policy uint8

const (
	Deny  Policy = iota // nobody
	Rules               // those whom Options.Grants grants it
	Allow               // everybody, under any name
)

// Limits say what is assumed without asking the upstream. SetLimits changes them.
type Limits struct {
	Fresh      time.Duration // how long access to a private repository is assumed without asking
	MaxStale   time.Duration // and how long while the upstream is unavailable
	MaxSilence time.Duration // of the upstream, when it is asked again whether a repository is public; 0: any
}

// Options of a Registry. Hooks may be nil.
type Options struct {
	Next      oci.Registry            // serves what is admitted
	Upstreams oci.Registry            // asks the upstreams, past the cache, with their logins
	Anonymous map[string]oci.Registry // asks each upstream, by name, without a login

	// LoggedIn reports whether a login may have been sent to any upstream, and MayLogIn
	// whether one may be sent to that of the name. As long as no login was sent, now or
	// by an earlier process, everything is public.
	LoggedIn func() bool
	MayLogIn func(upstream string) bool

	Policy func() Policy // now

	// Grants reports whether the client of ctx is granted a private repository; tag is
	// empty for content by digest and for lists. It is called while the Policy is Rules.
	Grants func(ctx context.Context, upstream, repository, tag string) bool

	Limits Limits
	Index  Index
	Hooks  Hooks
}

// Hooks report what no call returns. Each may be nil and must not block for long.
type Hooks struct {
	Refused     func(ctx context.Context, upstream, repository, reference string, err error) // private content
	IndexFailed func(err error)                                                              // facts could not be read or written
}

// Registry is a Registry that keeps private content private. New makes one; Run works
// for it. Its methods may be called concurrently.
type Registry struct {
	opts    Options
	limits  atomic.Pointer[Limits]
	facts   *facts
	missing *negative.Cache // of refs that the upstream does not have, asked with its login
	hidden  *negative.Cache // and without

	runner *call.Runner
	probes *call.Group[probe, struct{}]   // without a login
	checks *call.Group[oci.Ref, struct{}] // with the upstream's
}

// New returns a Registry that knows what the index knows. It starts nothing: call Run.
func New(o Options) *Registry {
	runner := call.NewRunner()
	r := &Registry{
		opts:    o,
		facts:   newFacts(o.Index, maxFacts, o.Hooks.IndexFailed),
		missing: negative.New(),
		hidden:  negative.New(),
		runner:  runner,
		probes:  call.NewGroup[probe, struct{}](runner),
		checks:  call.NewGroup[oci.Ref, struct{}](runner),
	}
	r.limits.Store(&o.Limits)
	return r
}

// SetLimits changes the limits.
func (r *Registry) SetLimits(l Limits) { r.limits.Store(&l) }

const flushEvery = 15 * time.Second // a crash costs a HEAD for each fact that it loses

// Run writes to the index what is found out, until ctx ends. Then it ends the requests
// in flight and waits for them. Run once.
func (r *Registry) Run(ctx context.Context) error {
	defer func() {
		r.runner.Stop()
		r.runner.Wait()
		r.facts.flush()
	}()
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.facts.flush()
		}
	}
}

// guards reports whether there may be private content that not everybody gets.
func (r *Registry) guards() bool {
	private := r.facts.private.Load()
	if r.opts.Policy() != Allow {
		return private || r.opts.LoggedIn()
	}
	if !private && r.opts.LoggedIn() {
		r.facts.put(unguarded, state{}) // for the time after that, when there may be no login
	}
	return false
}

// Resolve fails with oci.Denied for private content that the client is not granted, and
// as the upstream does for content that the repository does not have.
func (r *Registry) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if r.guards() {
		return r.resolve(ctx, ref)
	}
	result, err := r.opts.Next.Resolve(ctx, ref)
	if r.guards() { // since a moment ago
		return r.resolve(ctx, ref)
	}
	return result, err
}

func (r *Registry) resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	s, err := r.admit(ctx, ref)
	if err != nil {
		return oci.Result{}, err
	}
	result, err := r.opts.Next.Resolve(ctx, ref)
	if err == nil {
		err = r.confirm(ctx, s, ref, result)
	}
	if errors.Is(err, errElsewhere) {
		result, err = r.opts.Upstreams.Resolve(ctx, ref)
	}
	if err != nil {
		r.noteDenial(s, err)
		return oci.Result{}, err
	}
	return result, nil
}

// IsPublic reports whether what was fetched for ref, by digest, is everybody's, whatever
// the Policy: whether the upstream shows it without a login now. That a repository was
// public a moment ago, or has no login any more, is not enough for what cannot be taken
// back. It fails when the upstream does not say.
func (r *Registry) IsPublic(ctx context.Context, ref oci.Ref) (bool, error) {
	if !r.facts.private.Load() && !r.opts.LoggedIn() {
		return true, nil
	}
	err := r.ask(ctx, probe{ref.Upstream(), ref.Repository(), ref}, call.Endless)
	if isDenied(err) {
		return false, nil
	}
	return err == nil, err
}

// KnownPublic reports whether a repository is known to be public now: no login was ever
// sent, the upstream is asked without one, or it has shown the repository without one a
// moment ago. Nothing is sent for this.
func (r *Registry) KnownPublic(upstream, repository string) bool {
	return !r.facts.private.Load() && !r.opts.LoggedIn() || r.isKnownPublic(upstream, repository)
}

func (r *Registry) isKnownPublic(upstream, repository string) bool {
	known, ok := r.facts.get(fact{upstream: upstream, repository: repository})
	if !ok {
		return !r.opts.MayLogIn(upstream)
	}
	return known.public && known.current()
}

// KnownPublicContent reports whether content, by digest and whoever has asked for it, is known to be
// everybody's. Nothing is sent for this.
func (r *Registry) KnownPublicContent(d oci.Digest) bool {
	if !r.facts.private.Load() && !r.opts.LoggedIn() {
		return true
	}
	_, ok := r.facts.get(fact{digest: d})
	return ok
}

// Open fails as Resolve does.
func (r *Registry) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if r.guards() {
		return r.open(ctx, ref)
	}
	content, err := r.opts.Next.Open(ctx, ref)
	if !r.guards() {
		return content, err
	}
	if err == nil { // a login has been sent since: perhaps for this
		_ = content.Close()
	}
	return r.open(ctx, ref)
}

func (r *Registry) open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	s, err := r.admit(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := r.opts.Next.Open(ctx, ref)
	if err != nil {
		r.noteDenial(s, err)
		return nil, err
	}
	if err = r.confirm(ctx, s, ref, content.Result); err == nil {
		return content, nil
	}
	_ = content.Close()
	if errors.Is(err, errElsewhere) {
		content, err = r.openThere(ctx, s, ref)
	}
	if err != nil {
		r.noteDenial(s, err)
		return nil, err
	}
	return content, nil
}

// List fails with oci.Denied for a list of a private repository that the client is not
// granted.
func (r *Registry) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	if !r.guards() {
		page, err := r.opts.Next.List(ctx, q)
		if !r.guards() {
			return page, err
		}
	}
	s, err := r.admitList(ctx, q)
	if err != nil {
		return nil, err
	}
	page, err := r.opts.Next.List(ctx, q)
	if err != nil {
		r.noteDenial(s, err)
	}
	return page, err
}

// Visible reports whether the client of ctx may know of a repository, without asking the
// upstream.
func (r *Registry) Visible(ctx context.Context, upstream, repository string) bool {
	if !r.guards() {
		return true
	}
	known, ok := r.facts.get(fact{upstream: upstream, repository: repository})
	return ok && known.public || !ok && !r.opts.MayLogIn(upstream) || r.grants(ctx, upstream, repository, "")
}

func (r *Registry) grants(ctx context.Context, upstream, repository, tag string) bool {
	return r.opts.Policy() == Rules && r.opts.Grants(ctx, upstream, repository, tag)
}
