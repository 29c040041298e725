package stack

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"mirrord/internal/oci"
)

// offline says whether the upstreams are not to be asked. It may be changed at any time.
type offline struct{ atomic.Bool }

// gate returns next, which asks an upstream, and refuses everything while the mirror is
// offline. That is an outage to those above: they serve what they have.
func (o *offline) gate(next oci.Registry) oci.Registry { return upstreamGate{o, next} }

type upstreamGate struct {
	*offline
	next oci.Registry
}

func (g upstreamGate) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if g.Load() {
		return oci.Result{}, refuseOffline(ref)
	}
	return g.next.Resolve(ctx, ref)
}

func (g upstreamGate) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if g.Load() {
		return nil, refuseOffline(ref)
	}
	return g.next.Open(ctx, ref)
}

func (g upstreamGate) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	if g.Load() {
		return nil, oci.Errorf(oci.Unavailable, "%w and has no list of %s of %s/%s (ask the operator to set offline: false)", oci.ErrOffline, q.Kind(), q.Upstream(), q.Repository())
	}
	return g.next.List(ctx, q)
}

// refuseOffline returns the error for content that is not cached. An image is known by
// its tag alone.
func refuseOffline(ref oci.Ref) error {
	image := ref.String()
	if ref.Kind() == oci.Blob {
		image = ref.Upstream() + "/" + ref.Repository() + ":TAG"
	}
	return oci.Errorf(oci.Unavailable, "%w and does not have %s %s (ask the operator to set offline: false and run: mirrord warm %s)", oci.ErrOffline, ref.Kind(), ref, image)
}

// transport returns next, to the hosts of an upstream, and sends nothing while the mirror
// is offline: no probe either.
func (o *offline) transport(next http.RoundTripper) http.RoundTripper { return transportGate{o, next} }

type transportGate struct {
	*offline
	next http.RoundTripper
}

func (g transportGate) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.Load() {
		return nil, oci.ErrOffline
	}
	return g.next.RoundTrip(req)
}

// answerGate serves clients: what is missing because the mirror is offline is a 404 to
// them, and no outage that may soon be over.
type answerGate struct{ next oci.Registry }

func (g answerGate) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	result, err := g.next.Resolve(ctx, ref)
	return result, missing(err, codeOf(ref))
}

func (g answerGate) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	content, err := g.next.Open(ctx, ref)
	return content, missing(err, codeOf(ref))
}

func (g answerGate) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	page, err := g.next.List(ctx, q)
	return page, missing(err, oci.ManifestUnknown)
}

func codeOf(ref oci.Ref) oci.Code {
	if ref.Kind() == oci.Blob {
		return oci.BlobUnknown
	}
	return oci.ManifestUnknown
}

// missing returns err with that code if it is because the mirror is offline.
func missing(err error, code oci.Code) error {
	if !errors.Is(err, oci.ErrOffline) {
		return err
	}
	return oci.Errorf(code, "%w", err)
}
