package cache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// loopy refuses, after a second, what has passed through other mirrors.
type loopy struct{ oci.Registry }

func (l loopy) refuse(ctx context.Context) error {
	if len(oci.Hops(ctx)) == 0 {
		return nil
	}
	<-time.After(time.Second)
	return oci.Errorf(oci.Unavailable, "%w", oci.ErrLoop)
}

func (l loopy) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if err := l.refuse(ctx); err != nil {
		return nil, err
	}
	return l.Registry.Open(ctx, ref)
}

func (l loopy) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if err := l.refuse(ctx); err != nil {
		return oci.Result{}, err
	}
	return l.Registry.Resolve(ctx, ref)
}

// A client that joins the request of another one, which is refused for the mirrors that
// it has passed through, has a request of its own.
func TestLoopOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = loopy{fake} })
		refs, contents := blobs(t, fake, 2, mebibyte)
		other := oci.WithHops(t.Context(), []string{"mirrord-x"})
		go func() { _, _ = f.Open(other, refs[0]) }()
		go func() { _, _ = f.Resolve(other, refs[1]) }()
		<-time.After(100 * time.Millisecond)
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		go func() { _, _ = f.Resolve(other, refs[1]) }()
		<-time.After(100 * time.Millisecond)
		if result, err := f.Resolve(t.Context(), refs[1]); err != nil || result.Size != mebibyte {
			t.Errorf("%+v, %v", result, err)
		}
	})
}
