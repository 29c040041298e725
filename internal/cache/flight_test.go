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

// routed is a Registry whose requests to one upstream fail slowly.
type routed struct {
	*ocitest.Fake
	down string
}

func (r routed) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.Upstream() == r.down {
		<-time.After(time.Second)
		return nil, cachetest.ErrDown
	}
	return r.Fake.Open(ctx, ref)
}

// The failure of a digest at one upstream does not affect another.
func TestOtherUpstreamDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(1000, 1)
		d := fake.AddBlob(ocitest.Repo, blob)
		good := ocitest.BlobRef(t, d)
		bad, err := oci.ParseBlob("down.example", ocitest.Repo, d.String())
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = routed{fake, "down.example"} })
		go func() { _, _, _ = ocitest.Read(t.Context(), f, bad) }()
		<-time.After(time.Millisecond)
		f.MustRead(t, good, blob, oci.Fill)
	})
}

// A digest that is fetched as a manifest and as a blob stays a manifest.
func TestKindsOfOneDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		raw := cachetest.Put(fake, "v1", 1)
		d := oci.FromBytes(raw)
		fake.AddBlob(ocitest.Repo, raw)
		cachetest.Pace(fake, 5)
		f := start(t, fake)
		m, b := ocitest.ManifestRef(t, d.String()), ocitest.BlobRef(t, d)
		c1, err := f.Open(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		c2, err := f.Open(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c1.Close(), c2.Close()
		f.Settled(t)
		f.MustRead(t, m, raw, oci.Hit)
	})
}
