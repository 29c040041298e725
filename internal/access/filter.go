package access

import (
	"context"

	"mirrord/internal/oci"
)

// Refusal is a request that a rule refuses.
type Refusal struct {
	Client     oci.Client
	Rule       string // its name
	DryRun     bool   // the request is served nevertheless
	Upstream   string
	Repository string
	Reference  string // a tag or a digest; empty for a list
	Err        error
}

// Filter is a Registry that refuses what its rules deny. Its methods may be called
// concurrently.
type Filter struct {
	rules   []Rule
	next    oci.Registry
	refused func(context.Context, Refusal)
}

// NewFilter returns a Filter in front of next. refused is called for each refusal, and
// must not block for long.
func NewFilter(rules []Rule, next oci.Registry, refused func(context.Context, Refusal)) *Filter {
	return &Filter{rules: rules, next: next, refused: refused}
}

// Resolve fails with oci.Denied for what a rule denies.
func (f *Filter) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	required, err := f.apply(ctx, requestOf(ctx, ref), ref.Reference())
	if err != nil {
		return oci.Result{}, err
	}
	result, err := f.next.Resolve(ctx, ref)
	if err == nil {
		err = f.check(ctx, f.next, required, ref, result)
	}
	if err != nil {
		return oci.Result{}, err
	}
	return result, nil
}

// Open fails with oci.Denied for what a rule denies.
func (f *Filter) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	required, err := f.apply(ctx, requestOf(ctx, ref), ref.Reference())
	if err != nil {
		return nil, err
	}
	content, err := f.next.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := f.checkContent(ctx, required, ref, content); err != nil {
		_ = content.Close()
		return nil, err
	}
	return content, nil
}

// List fails with oci.Denied for lists of a repository that a rule denies.
func (f *Filter) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	if _, err := f.apply(ctx, request{oci.ClientOf(ctx), q.Upstream(), q.Repository(), ""}, ""); err != nil {
		return nil, err
	}
	return f.next.List(ctx, q)
}

func requestOf(ctx context.Context, ref oci.Ref) request {
	return request{oci.ClientOf(ctx), ref.Upstream(), ref.Repository(), ref.Tag()}
}

// apply returns the rules whose requirements must be met, or the refusal of the first
// rule that denies the request. Without a rule that matches it is allowed.
func (f *Filter) apply(ctx context.Context, q request, reference string) (required []*Rule, err error) {
	for i := range f.rules {
		rule := &f.rules[i]
		if !rule.matches(q) {
			continue
		}
		switch rule.Effect {
		case Allow:
			return required, nil
		case Require:
			required = append(required, rule)
		case Deny:
			if err := f.refuse(ctx, rule, q, reference, nil); err != nil {
				return nil, err
			}
		}
	}
	return required, nil
}

// checkContent is check for content that was opened.
func (f *Filter) checkContent(ctx context.Context, required []*Rule, ref oci.Ref, content *oci.Content) (err error) {
	next := f.next
	if len(required) > 0 && ref.Kind() == oci.Manifest && content.Via == oci.Pass {
		if next, err = hold(next, ref.At(content.Digest), content); err != nil {
			return err
		}
	}
	return f.check(ctx, next, required, ref, content.Result)
}

// check fails when the manifest that was found for ref does not meet a requirement.
// Blobs have none: they are of no use without a manifest.
func (f *Filter) check(ctx context.Context, next oci.Registry, required []*Rule, ref oci.Ref, found oci.Result) error {
	if ref.Kind() != oci.Manifest {
		return nil
	}
	for _, rule := range required {
		err := rule.Requirement.Check(ctx, next, ref.At(found.Digest), ref.Tag())
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return err // the client has gone: nothing is refused
		}
		if err := f.refuse(ctx, rule, requestOf(ctx, ref), ref.Reference(), err); err != nil {
			return err
		}
	}
	return nil
}

// refuse reports a refusal and returns it, or nil for one that is only reported. why is
// the requirement that is not met, or nil.
func (f *Filter) refuse(ctx context.Context, rule *Rule, q request, reference string, why error) error {
	err := refusal(rule, q, why)
	f.refused(ctx, Refusal{q.client, rule.Name, rule.DryRun, q.upstream, q.repository, reference, err})
	if rule.DryRun {
		return nil
	}
	return err
}

func refusal(rule *Rule, q request, why error) error {
	switch {
	case why == nil:
		return oci.Errorf(oci.Denied, "pulls of %s/%s are denied by %s of this mirror: ask its operator", q.upstream, q.repository, rule.Name)
	case oci.Temporary(why):
		return oci.Errorf(oci.Unavailable, "%s/%s: %s of this mirror cannot be checked now: %w", q.upstream, q.repository, rule.Name, why)
	}
	return oci.Errorf(oci.Denied, "pulls of %s/%s are denied by %s of this mirror: %w", q.upstream, q.repository, rule.Name, why)
}

// Grants reports whether one of the rules allows the client of ctx the repository, all
// of it or the tag, before another denies it. It is what private content needs.
func Grants(ctx context.Context, rules []Rule, upstream, repository, tag string) bool {
	q := request{oci.ClientOf(ctx), upstream, repository, tag}
	for i := range rules {
		if rule := &rules[i]; rule.matches(q) && rule.Effect != Require && !(rule.Effect == Deny && rule.DryRun) {
			return rule.Effect == Allow
		}
	}
	return false
}
