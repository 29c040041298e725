package tags_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// atReserve is an upstream that has only reserved pulls left. It takes a second.
type atReserve struct{ *ocitest.Fake }

func (r atReserve) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	<-time.After(time.Second)
	if !oci.MayUseReserve(ctx) {
		return nil, errReserve
	}
	return r.Fake.Open(ctx, ref)
}

func atTheReserve(fake *ocitest.Fake) func(*cachetest.Options) {
	return func(o *cachetest.Options) { o.Cache.Next = atReserve{fake} }
}

// The upstream is told which pulls may be of the reserve: those of what was never pulled,
// and not those of newer versions, whether a HEAD or a GET tells of them.
func TestNewerVersionLeavesTheReserve(t *testing.T) {
	for name, fault := range map[string]func(ocitest.Call) error{
		"HEAD":           nil,
		"HEAD of no use": needsGet,
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			fake.Fail(fault)
			tag := ocitest.ManifestRef(t, "v1")
			stale := cachetest.Put(fake, "v1", 1)
			f := start(t, fake, atTheReserve(fake))
			f.MustRead(t, tag, stale, oci.Fill)
			f.Settled(t)
			newer := cachetest.Put(fake, "v1", 2)
			<-time.After(2 * time.Minute)
			f.MustRead(t, tag, stale, oci.Stale)
			if got, err := f.Refresh(t.Context(), tag); err == nil && (got.Pulled || got.Unpulled == nil) {
				t.Errorf("%s: refreshed: %+v", name, got)
			}
			if n := fake.Calls("Open", oci.FromBytes(newer).String()); n > 0 {
				t.Errorf("%s: %d pulls of the newer version", name, n)
			}
		})
	}
}

// Work in the background leaves the reserve, and a client that has joined it does not.
func TestBackgroundLeavesTheReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		f := start(t, fake, atTheReserve(fake))
		ref := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		failed := make(chan error, 1)
		go func() {
			_, err := f.Open(oci.WithBackground(t.Context()), ref)
			failed <- err
		}()
		<-time.After(100 * time.Millisecond)
		f.MustRead(t, ref, raw, oci.Fill)
		var limit *oci.LimitError
		if err := <-failed; !errors.As(err, &limit) || limit.Kind != oci.LimitReserve {
			t.Errorf("in the background: %v", err)
		}
	})
}
