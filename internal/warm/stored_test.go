package warm_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/cache"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/warm"
	"mirrord/test/mirrortest"
)

// slowStore takes a minute to store a blob, or fails.
type slowStore struct {
	cache.Store
	err error
}

func (s slowStore) Put(ctx context.Context, d oci.Digest, f *os.File) error {
	if s.err != nil {
		return s.err
	}
	time.Sleep(time.Minute)
	return s.Store.Put(ctx, d, f)
}

// inBubble is start in a bubble, with an image of three layers of 10 kB, and a cache of
// maxSize bytes whose store takes a minute, or fails with err.
func inBubble(t *testing.T, maxSize int64, err error) *world {
	t.Helper()
	network := new(hubsim.Network)
	hub, started := hubsim.Start(hubsim.Options{Listen: network.Listen, Addr: "hub.example:80", CDNAddr: "cdn.hub.example:80"})
	if started != nil {
		t.Fatal(started)
	}
	t.Cleanup(hub.Close)
	transport := &http.Transport{DialContext: network.DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	o := mirrortest.Options(t, t.TempDir(), maxSize, mirrortest.Upstream(t, oci.DockerHub, hub.URL(), transport, 0))
	o.Cache.Store = slowStore{o.Cache.Store, err}
	mirror, _ := mirrortest.Run(t, o)
	image, made := hubsim.Layers(3, 10_000, 1, hubsim.OCI)
	if made != nil {
		t.Fatal(made)
	}
	if _, err := hub.AddImage("acme/app", "v1", image); err != nil {
		t.Fatal(err)
	}
	return &world{hub, mirror, warm.New(warm.Options{
		Registry: mirror.Tags, Cache: mirror.Cache, Parse: parse, Reserve: mirror.CheckReserve, Offline: func() bool { return false },
	})}
}

// run warms the image and returns what became of it, and how many blobs the cache had when
// that was reported.
func (w *world) run(t *testing.T) (result warm.Result, entries int) {
	t.Helper()
	job := warm.Job{Images: []warm.Image{{Name: "acme/app:v1"}}}
	_, err := w.warmer.Run(t.Context(), job, warm.Report{Result: func(r warm.Result) {
		result, entries = r, w.mirror.Cache.Stats().Entries
	}})
	if err != nil {
		t.Error(err)
	}
	return result, entries
}

// An image is warmed, or cached, once its manifest, its config and its layers are on the
// disk, not when their last byte has arrived.
func TestWarmedIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := inBubble(t, 1<<30, nil)
		if result, entries := w.run(t); result.Outcome != warm.Warmed || entries != 5 {
			t.Errorf("%+v with %d of 5 blobs", result, entries)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := inBubble(t, 1<<30, nil)
		ref, err := parse("acme/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		if result, _ := w.run(t); result.Outcome != warm.Warmed {
			t.Errorf("%+v", result)
		}
		known, _ := w.mirror.Tags.Known(ref)
		if removed, err := w.mirror.Cache.Remove(t.Context(), time.Now(), known.Latest.Digest); err != nil || removed.Blobs != 1 {
			t.Fatalf("%+v, %v", removed, err)
		}
		content, err := w.mirror.Tags.Open(t.Context(), ref) // it is in memory, and not yet on the disk
		if err != nil {
			t.Fatal(err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
		if result, entries := w.run(t); result.Outcome != warm.Cached || entries != 5 {
			t.Errorf("%+v with %d of 5 blobs", result, entries)
		}
	})
}

// What was fetched and is not on the disk in the end has failed, and the reason is named.
func TestWarmedIsNotStored(t *testing.T) {
	for name, test := range map[string]struct {
		maxSize int64
		err     error
		want    string
	}{
		"a blob is larger than the cache":   {9_000, nil, "raise cache.max_size"},
		"the image is larger":               {25_000, nil, "raise cache.max_size"},
		"the disk fails after the transfer": {1 << 30, errors.New("input/output error"), "input/output error; mirrord doctor says more"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result, _ := inBubble(t, test.maxSize, test.err).run(t)
				if result.Outcome != warm.Failed || !strings.Contains(result.Error, test.want) {
					t.Errorf("%+v, want an error with %q", result, test.want)
				}
			})
		})
	}
}
