package cache_test

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// grudging is a Store on a disk that fails to read blobs, and perhaps to write them.
type grudging struct {
	cache.Store
	mu              sync.Mutex
	open, read, put error // nil: it works
}

func (g *grudging) set(open, read, put error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.read, g.put = open, read, put
}

func (g *grudging) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		return nil, &os.PathError{Op: "open", Path: d.Encoded(), Err: g.open}
	}
	body, err := g.Store.Open(ctx, d)
	if err == nil && g.read != nil {
		body = unreadableBody{body, g.read}
	}
	return body, err
}

func (g *grudging) Put(ctx context.Context, d oci.Digest, f *os.File) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.put != nil {
		return &os.PathError{Op: "rename", Path: f.Name(), Err: g.put}
	}
	g.open, g.read = nil, nil // the file is a new one
	return g.Store.Put(ctx, d, f)
}

type unreadableBody struct {
	io.ReadSeekCloser
	err error
}

func (b unreadableBody) Read([]byte) (int, error) { return 0, b.err }

// A manifest that cannot be read from the disk is treated as absent: many clients at
// once cost one pull, and later ones none, whether or not the disk can store it again.
// The same holds for a blob, as long as the disk can store it.
func TestUnreadable(t *testing.T) {
	for name, fault := range map[string]struct{ open, read, put error }{
		"EIO at open":              {open: syscall.EIO},
		"EIO at read":              {read: syscall.EIO},
		"no permission":            {open: syscall.EACCES},
		"network disk unreachable": {open: syscall.ESTALE},
		"EIO at open, put fails":   {open: syscall.EIO, put: syscall.EIO},
		"EIO at read, put fails":   {read: syscall.EIO, put: syscall.EROFS},
		"no permission, put fails": {open: syscall.EACCES, put: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				raw, tag := cachetest.Put(fake, "v1", 1), ocitest.ManifestRef(t, "v1")
				ref := ocitest.ManifestRef(t, oci.FromBytes(raw).String())
				refs, contents := blobs(t, fake, 1, 100_000)
				g := new(grudging)
				on := func(o *cachetest.Options) { g.Store, o.Cache.Store = o.Cache.Store, g }
				f := start(t, fake, on)
				f.MustRead(t, tag, raw, oci.Fill)
				f.MustRead(t, refs[0], contents[0], oci.Fill)
				f.Settled(t)
				f.Stop()
				f.Restart(t, on) // nothing is in memory
				synctest.Wait()
				fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return nil })

				g.set(fault.open, fault.read, fault.put)
				f.crowd(t, ref, raw)
				f.crowd(t, ref, raw)
				if n := fake.Calls("Open", ref.Reference()); n != 2 {
					t.Errorf("%d pulls, want the first one and one more", n)
				}
				if fault.put == nil && fault.open != nil {
					g.set(fault.open, fault.read, fault.put)
					f.crowd(t, refs[0], contents[0])
					f.crowd(t, refs[0], contents[0])
					if n := fake.Calls("Open", refs[0].Reference()); n != 2 {
						t.Errorf("the blob was fetched %d times, want twice", n)
					}
				}

				g.set(nil, nil, nil)
				<-time.After(time.Minute)
				fake.Fail(cachetest.Down)
				f.MustRead(t, ref, raw, oci.Hit)
				if degraded := f.Stats().Degraded; len(degraded) > 0 {
					t.Errorf("still degraded: %v", degraded)
				}
				f.Stop()
				f.Restart(t, on)
				f.MustRead(t, ref, raw, oci.Hit) // it is on the disk
			})
		})
	}
}

// crowd reads ref with many clients at once.
func (f *fixture) crowd(t *testing.T, ref oci.Ref, want []byte) {
	t.Helper()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			got, _, err := ocitest.Read(t.Context(), f, ref)
			if err != nil || string(got) != string(want) {
				t.Errorf("read %s: %d bytes instead of %d, %v", ref, len(got), len(want), err)
			}
		})
	}
	clients.Wait()
	f.Settled(t)
}

// Blobs that cannot be read for a time are served from the disk when they can be read again.
func TestUnreadableForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 2, 100_000)
		g := new(grudging)
		f := start(t, fake, func(o *cachetest.Options) { g.Store, o.Cache.Store = o.Cache.Store, g })
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Fill)
			f.Settled(t)
		}
		g.set(syscall.ESTALE, nil, syscall.ESTALE)
		f.crowd(t, refs[0], contents[0])
		<-time.After(5 * time.Minute)
		g.set(nil, nil, nil)
		fake.Fail(cachetest.Down)
		<-time.After(time.Minute)
		for i := range refs {
			f.MustRead(t, refs[i], contents[i], oci.Hit)
		}
		if s := f.Stats(); s.Entries != 2 || s.Bytes != 200_000 {
			t.Errorf("%d bytes are cached in %d entries", s.Bytes, s.Entries)
		}
	})
}
