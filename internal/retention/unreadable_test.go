package retention_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
	"mirrord/internal/route"
	"mirrord/test/cachetest"
)

// badSector is a disk that does not give one blob.
type badSector struct {
	cache.Store
	digest oci.Digest
	err    error
}

func (b *badSector) Open(ctx context.Context, d oci.Digest) (io.ReadSeekCloser, error) {
	if d == b.digest {
		return nil, &fs.PathError{Op: "open", Path: d.Encoded(), Err: b.err}
	}
	return b.Store.Open(ctx, d)
}

// While the manifest of an image cannot be read, its layers are neither collected, nor
// purged with another image that has them.
func TestUnreadableManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := new(badSector)
		withBad := func(o *cachetest.Options) { bad.Store, o.Cache.Store = o.Cache.Store, bad }
		m := start(t, new(ocitest.Fake), 1<<20, withBad)
		layer := ocitest.Content(50_000, 1)
		manifest := m.image(t, "app", layer)
		m.image(t, "other", layer)
		m.pull(t, "app")
		m.pull(t, "other")
		m.Stop()
		m.Restart(t, withBad) // nothing is in memory
		m.reopen(t, 1<<20)
		bad.digest, bad.err = oci.FromBytes(manifest), syscall.EIO
		<-time.After(time.Hour)
		if _, err := m.Collect(t.Context(), 0, false, func(retention.Collected) {}); !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
		if _, err := m.Purge(t.Context(), pattern(t, "other"), false); !errors.Is(err, syscall.EIO) || !m.cached(layer) {
			t.Errorf("%v, cached %v", err, m.cached(layer))
		}
	})
}

// oneDisk are images on a disk that may fail.
type oneDisk struct {
	*images.Images
	err error
}

func (o *oneDisk) Reach(ctx context.Context, d oci.Descriptor, reached map[oci.Digest]int64) error {
	if o.err != nil {
		return o.err
	}
	return o.Images.Reach(ctx, d, reached)
}

// usedMeanwhile is a cache of which something is used after its records have been read.
type usedMeanwhile struct {
	*cache.Cache
	use func()
}

func (u usedMeanwhile) Records() []cache.BlobRecord {
	defer u.use()
	return u.Cache.Records()
}

// odd has a Retention on parts that are not those of a mirror in good order.
func (m *mirror) odd(t *testing.T, disk *oneDisk, c retention.Cache) {
	t.Helper()
	disk.Images = images.New(images.Options{Tags: m.Registry, Cache: m.Cache, Routes: func() route.Table { return table }})
	m.Retention = retention.New(t.Context(), retention.Options{Images: disk, Tags: m.Registry, Cache: c, Index: m.index, Max: 1 << 20})
}

// What is pinned stays so while its manifest cannot be read.
func TestPinnedAndUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		m.image(t, "app", ocitest.Content(50_000, 1))
		m.pull(t, "app")
		disk := new(oneDisk)
		m.odd(t, disk, m.Cache)
		if _, err := m.Pin(t.Context(), pattern(t, "app")); err != nil {
			t.Fatal(err)
		}
		pinned := m.Stats().Pinned
		disk.err = syscall.EIO
		if m.Apply(t.Context()); pinned == 0 || m.Stats().Pinned != pinned {
			t.Errorf("%d bytes are pinned of %d", m.Stats().Pinned, pinned)
		}
		disk.err = nil
		if _, err := m.Unpin(t.Context(), pattern(t, "app")); err != nil || m.Stats().Pinned != 0 {
			t.Errorf("%d bytes are pinned, %v", m.Stats().Pinned, err)
		}
	})
}

// What a client asks for while a collection finds out what is old is not old.
func TestCollectUsedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		layer := ocitest.Content(50_000, 1)
		m.image(t, "app", layer)
		ref := ocitest.BlobRef(t, oci.FromBytes(layer))
		m.read(t, ref)
		m.Settled(t)
		<-time.After(time.Hour)
		m.odd(t, new(oneDisk), usedMeanwhile{m.Cache, func() {
			<-time.After(time.Second)
			m.read(t, ref)
		}})
		if c, err := m.Collect(t.Context(), time.Minute, false, func(retention.Collected) {}); err != nil || c.Blobs != 0 || c.InUse != 1 || !m.cached(layer) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// An image whose manifest a client could not be given is not collected.
func TestCollectOnFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := new(badSector)
		withBad := func(o *cachetest.Options) { bad.Store, o.Cache.Store = o.Cache.Store, bad }
		m := start(t, new(ocitest.Fake), 1<<20, withBad)
		layer := ocitest.Content(50_000, 1)
		manifest := m.image(t, "app", layer)
		m.pull(t, "app")
		m.Stop()
		m.Fake.Fail(func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "it is down") })
		m.Restart(t, withBad)
		m.reopen(t, 1<<20)
		<-time.After(time.Hour)
		bad.digest, bad.err = oci.FromBytes(manifest), syscall.EMFILE
		_, _, _ = ocitest.Read(t.Context(), m.Fixture, ocitest.ManifestRef(t, bad.digest.String()))
		if _, err := m.Collect(t.Context(), 0, false, func(retention.Collected) {}); !errors.Is(err, syscall.EMFILE) || !m.cached(layer) {
			t.Errorf("%v, cached %v", err, m.cached(layer))
		}
	})
}
