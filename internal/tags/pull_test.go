package tags_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/tags"
	"mirrord/test/cachetest"
)

// needsGet makes Resolve fail as for an upstream whose HEADs are useless.
func needsGet(c ocitest.Call) error {
	if c.Method == "Resolve" {
		return oci.Errorf(oci.Unavailable, "%w", oci.ErrNeedsGet)
	}
	return nil
}

// mustResolve checks that HEAD describes raw, and where it came from.
func (f *fixture) mustResolve(t *testing.T, ref oci.Ref, raw []byte, via oci.Via) {
	t.Helper()
	got, err := f.Resolve(t.Context(), ref)
	want := oci.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: oci.FromBytes(raw), Size: int64(len(raw))}
	if err != nil || got.Descriptor != want || got.Via != via {
		t.Errorf("resolve %s: %+v, %v; want %+v via %s", ref, got, err, want, via)
	}
}

// Where a HEAD does not say what a tag names, a GET does: it is a pull, which is
// booked, and its content is cached, so that nothing is pulled twice.
func TestTagByGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		fake.Fail(needsGet)
		f := start(t, fake, withQuota(purse))
		f.mustResolve(t, tag, raw, oci.Fill)
		f.Settled(t)
		f.MustRead(t, tag, raw, oci.Hit)
		f.MustRead(t, tag.At(oci.FromBytes(raw)), raw, oci.Hit)
		<-time.After(2 * time.Minute)
		f.MustRead(t, tag, raw, oci.Revalidated)
		if gets := fake.Calls("Open", "v1"); gets != 2 || purse.taken != 2 || fake.Calls("Open", oci.FromBytes(raw).String()) != 0 {
			t.Errorf("%d GETs of the tag, %d pulls booked, want 2", gets, purse.taken)
		}
		if n := f.Stats().Saved[ocitest.Upstream]; n != 1 {
			t.Errorf("%d pulls saved by three responses for two pulls, want 1", n)
		}

		purse.set(errReserve, nil)
		cachetest.Put(fake, "v1", 2)
		<-time.After(2 * time.Minute)
		f.mustResolve(t, tag, raw, oci.Stale)
		if s := f.Stats(); s.Tags.Stale[oci.StaleReason(oci.LimitReserve)] != 1 || s.Tags.Checks[tags.Limited] != 0 || fake.Calls("Open", "v1") != 2 {
			t.Errorf("with few pulls left: %+v", s)
		}

		f.Stop()
		fake.Fail(cachetest.Down)
		f.Restart(t, withQuota(purse))
		f.mustResolve(t, tag, raw, oci.Stale)
		f.MustRead(t, tag, raw, oci.Stale)
	})
}

// A GET of a tag that fails costs no pull, unless its response was useless: that one
// is remembered.
func TestTagByGetFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		purse := new(purse)
		tag := ocitest.ManifestRef(t, "v1")
		cachetest.Put(fake, "v1", 1)
		f := start(t, fake, withQuota(purse))
		for _, test := range []struct {
			err         error
			asked, paid int
		}{
			{cachetest.ErrDown, 2, 0},
			{oci.Errorf(oci.Unavailable, "%w", oci.ErrUnusable), 3, 1},
		} {
			fake.Fail(func(c ocitest.Call) error {
				if err := needsGet(c); err != nil {
					return err
				}
				return test.err
			})
			for range 2 {
				if _, err := f.Open(t.Context(), tag); !errors.Is(err, test.err) {
					t.Errorf("%v, want %v", err, test.err)
				}
			}
			if gets := fake.Calls("Open", "v1"); gets != test.asked || purse.taken != test.paid {
				t.Errorf("after %v: %d GETs, %d pulls booked, want %d, %d", test.err, gets, purse.taken, test.asked, test.paid)
			}
		}
	})
}

// shares is a Quota with pulls for one client only.
type shares struct{ client string }

func (s shares) Save(ctx context.Context, ref oci.Ref) error {
	_, err := s.Take(ctx, ref)
	return err
}

func (s shares) Take(ctx context.Context, _ oci.Ref) (refund func(), err error) {
	if client := oci.ClientOf(ctx); client.Address.String() != s.client {
		return nil, errClient
	}
	return func() {}, nil
}

// A client that has used up its share is refused, but not another client that waits
// for the same tag.
func TestTagByGetOfTwoClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		fake.Fail(func(c ocitest.Call) error { <-time.After(time.Second); return needsGet(c) })
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Quota, o.Tags.Quota = shares{"192.0.2.2"}, shares{"192.0.2.2"} })
		var clients sync.WaitGroup
		clients.Go(func() {
			if _, _, err := ocitest.Read(from(t, "192.0.2.1"), f, tag); !errors.Is(err, errClient) {
				t.Errorf("the client without a share: %v", err)
			}
		})
		<-time.After(100 * time.Millisecond)
		clients.Go(func() {
			if got, _, err := ocitest.Read(from(t, "192.0.2.2"), f, tag); err != nil || string(got) != string(raw) {
				t.Errorf("the client with a share: %q, %v", got, err)
			}
		})
		clients.Wait()
	})
}

func from(t *testing.T, address string) context.Context {
	return oci.WithClient(t.Context(), oci.Client{Address: netip.MustParseAddr(address)})
}

// A manifest that a HEAD does not describe completely is fetched once, also where
// tags are never fresh.
func TestIncompleteHeadCostsOneGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		fake.Claim(func(d oci.Descriptor) oci.Descriptor { d.Size = 0; return d })
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, func(o *cachetest.Options) { o.Tags.Fresh = nil })
		f.mustResolve(t, tag, raw, oci.Fill)
		f.Settled(t)
		f.mustResolve(t, tag, raw, oci.Revalidated)
		if heads, gets := fake.Calls("Resolve", "v1"), fake.Calls("Open", oci.FromBytes(raw).String()); heads != 2 || gets != 1 {
			t.Errorf("%d HEADs and %d GETs for two HEADs", heads, gets)
		}
	})
}

// Whatever a HEAD claims, a cached manifest is described by its copy: while it is
// fresh, revalidated or stale, and after a restart.
func TestCachedIsDescribedByTheCopy(t *testing.T) {
	for name, claim := range map[string]func(oci.Descriptor) oci.Descriptor{
		"size 0":       func(d oci.Descriptor) oci.Descriptor { d.Size = 0; return d },
		"no size":      func(d oci.Descriptor) oci.Descriptor { d.Size = oci.UnknownSize; return d },
		"another size": func(d oci.Descriptor) oci.Descriptor { d.Size = 7; return d },
		"no type":      func(d oci.Descriptor) oci.Descriptor { d.MediaType = ""; return d },
		"another type": func(d oci.Descriptor) oci.Descriptor { d.MediaType = "application/vnd.other+json"; return d },
		"general type": func(d oci.Descriptor) oci.Descriptor { d.MediaType = "application/octet-stream"; return d },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				fake.Claim(claim)
				tag := ocitest.ManifestRef(t, "v1")
				raw := cachetest.Put(fake, "v1", 1)
				f := start(t, fake)
				f.MustRead(t, tag, raw, oci.Fill)
				f.Settled(t)
				f.mustResolve(t, tag, raw, oci.Hit)
				f.Stop()
				f.Restart(t)
				f.mustResolve(t, tag, raw, oci.Hit)
				<-time.After(2 * time.Minute)
				f.mustResolve(t, tag, raw, oci.Revalidated)
				fake.Fail(cachetest.Down)
				<-time.After(2 * time.Minute)
				f.mustResolve(t, tag, raw, oci.Stale)
				f.mustResolve(t, tag.At(oci.FromBytes(raw)), raw, oci.Hit)
				if n := fake.Calls("Open", oci.FromBytes(raw).String()); n != 1 {
					t.Errorf("fetched %d times", n)
				}
			})
		})
	}
}

// slowStore takes a minute to put a blob.
type slowStore struct{ cache.Store }

func (s slowStore) Put(ctx context.Context, d oci.Digest, file *os.File) error {
	<-time.After(time.Minute)
	return s.Store.Put(ctx, d, file)
}

// A manifest that is still being stored on a slow disk is served for its tag when the
// upstream fails right after it was fetched.
func TestTagOfAManifestBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		tag := ocitest.ManifestRef(t, "v1")
		raw := cachetest.Put(fake, "v1", 1)
		f := start(t, fake, func(o *cachetest.Options) { o.Tags.Fresh, o.Cache.Store = nil, slowStore{o.Cache.Store} })
		f.MustRead(t, tag, raw, oci.Fill)
		fake.Fail(cachetest.Down)
		f.MustRead(t, tag, raw, oci.Stale)
		f.mustResolve(t, tag, raw, oci.Stale)
	})
}
