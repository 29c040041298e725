package retention_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/retention"
)

// A purge removes what it says before, and leaves what another image needs.
func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		shared, own := ocitest.Content(50_000, 1), ocitest.Content(70_000, 2)
		manifest := m.image(t, "app", shared, own)
		m.image(t, "other", shared)
		m.pull(t, "app")
		m.pull(t, "other")
		before := m.Stats().Bytes
		said, err := m.Purge(t.Context(), pattern(t, "app"), true)
		if err != nil || said.Blobs != 3 || len(said.Tags) != 1 || m.Stats().Bytes != before {
			t.Fatalf("%+v, %v", said, err)
		}
		done, err := m.Purge(t.Context(), pattern(t, "app"), false)
		if err != nil || done.Blobs != said.Blobs || done.Bytes != said.Bytes || m.Stats().Bytes != before-said.Bytes {
			t.Errorf("%+v instead of %+v, %v", done, said, err)
		}
		if m.cached(own) || m.cached(manifest) || !m.cached(shared) {
			t.Error("what only the image needs stays, or what another needs does not")
		}
		if _, err := m.Purge(t.Context(), pattern(t, "app"), false); !errors.Is(err, retention.ErrNoMatch) {
			t.Errorf("a purge of nothing: %v", err)
		}
	})
}

// A pinned image is not purged, nor is anything beside it.
func TestPurgePinned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		for i, tag := range []string{"one", "two"} {
			m.image(t, tag, ocitest.Content(50_000, byte(i)))
			m.pull(t, tag)
		}
		if _, err := m.Pin(t.Context(), pattern(t, "two")); err != nil {
			t.Fatal(err)
		}
		before := m.Stats().Bytes
		if _, err := m.Purge(t.Context(), pattern(t, "*"), false); !errors.Is(err, retention.ErrPinned) || m.Stats().Bytes != before {
			t.Errorf("%v, %d of %d bytes are left", err, m.Stats().Bytes, before)
		}
	})
}

// A client that reads a layer gets all of it, and it stays until the next collection.
func TestPurgeWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		layer := ocitest.Content(500_000, 1)
		m.image(t, "app", layer)
		m.pull(t, "app")
		content, err := m.Open(t.Context(), ocitest.BlobRef(t, oci.FromBytes(layer)))
		if err != nil {
			t.Fatal(err)
		}
		purged, err := m.Purge(t.Context(), pattern(t, "app"), false)
		if err != nil || purged.InUse != 1 || purged.Blobs != 2 {
			t.Errorf("%+v, %v", purged, err)
		}
		got := make([]byte, len(layer)+1)
		n := 0
		for err == nil && n < len(got) {
			var more int
			more, err = content.Body.Read(got[n:])
			n += more
		}
		if string(got[:n]) != string(layer) || content.Close() != nil {
			t.Errorf("%d bytes of %d, %v", n, len(layer), err)
		}
		<-time.After(time.Second)
		if c, err := m.Collect(t.Context(), 0, false, func(retention.Collected) {}); err != nil || c.Blobs != 1 || m.Stats().Bytes != 0 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// A collection removes what a tag has moved away from, once it was not used for so long.
func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		old, present := ocitest.Content(50_000, 1), ocitest.Content(70_000, 2)
		m.image(t, "app", old)
		m.pull(t, "app")
		m.image(t, "app", present)
		<-time.After(2 * time.Minute)
		m.pull(t, "app")
		if c, err := m.Collect(t.Context(), time.Hour, false, func(retention.Collected) {}); err != nil || c.Blobs != 0 {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := m.Collect(t.Context(), time.Minute, true, func(retention.Collected) {}); err != nil || c.Blobs != 2 || !m.cached(old) {
			t.Errorf("%+v, %v", c, err)
		}
		var told []int
		tell := func(c retention.Collected) { told = append(told, c.Blobs) }
		if c, err := m.Collect(t.Context(), time.Minute, false, tell); err != nil || c.Blobs != 2 || m.cached(old) || !m.cached(present) {
			t.Errorf("%+v, %v", c, err)
		}
		if !slices.Equal(told, []int{0, 2}) {
			t.Errorf("progress is %v", told)
		}
	})
}

// What was pulled by digest stays while its manifest is used, and then goes as a whole.
func TestCollectUntagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := start(t, new(ocitest.Fake), 1<<20)
		layer := ocitest.Content(50_000, 1)
		manifest := m.image(t, "app", layer)
		m.read(t, ocitest.BlobRef(t, oci.FromBytes(layer)))
		m.Settled(t)
		<-time.After(30 * time.Minute)
		m.read(t, ocitest.ManifestRef(t, oci.FromBytes(manifest).String()))
		m.Settled(t)
		<-time.After(30 * time.Minute)
		if c, err := m.Collect(t.Context(), 45*time.Minute, false, func(retention.Collected) {}); err != nil || c.Blobs != 0 {
			t.Errorf("%+v, %v: the layer is of a manifest that was used", c, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Collect(ended, 0, false, func(retention.Collected) {}); !errors.Is(err, context.Canceled) || !m.cached(layer) {
			t.Error(err)
		}
		<-time.After(time.Hour)
		if c, err := m.Collect(t.Context(), 45*time.Minute, false, func(retention.Collected) {}); err != nil || c.Blobs != 2 || m.Stats().Bytes != 0 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
