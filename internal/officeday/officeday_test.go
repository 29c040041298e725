package officeday

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/cache"
	"mirrord/internal/cache/disk"
	"mirrord/internal/cache/lru"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
	"mirrord/internal/upstream"
)

// nowhere is an Index that remembers nothing: nothing is restarted.
type nowhere struct{}

func (nowhere) Blobs() iter.Seq2[cache.BlobRecord, error] {
	return func(func(cache.BlobRecord, error) bool) {}
}
func (nowhere) Tags() iter.Seq2[cache.TagRecord, error] {
	return func(func(cache.TagRecord, error) bool) {}
}
func (nowhere) PutBlobs(...cache.BlobRecord) error { return nil }
func (nowhere) RemoveBlobs(...oci.Digest) error    { return nil }
func (nowhere) PutTag(cache.TagRecord) error       { return nil }
func (nowhere) RemoveTags(...oci.Ref) error        { return nil }

// spending is the daemon's quota, without shares of clients.
type spending struct{ *upstream.Pool }

func (s spending) Spare(context.Context, string) error { return s.Pool.Spare() }
func (spending) Take(context.Context, string) error    { return nil }
func (spending) Return(context.Context, string)        {}

// newRegistry is the way to the hub without a login, and without a mirror.
func newRegistry(t *testing.T, hub *hubsim.Hub, transport http.RoundTripper) *upstream.Registry {
	t.Helper()
	address, err := url.Parse(hub.URL())
	check(t, err)
	return upstream.New(upstream.Options{Name: oci.DockerHub, URL: address, Auth: authn.Anonymous, Transport: transport})
}

// newPool is the mirror's way.
func newPool(t *testing.T, hub *hubsim.Hub, reserve int) *upstream.Pool {
	t.Helper()
	quota := ratelimit.New(oci.DockerHub, "anonymous", hub.Transport())
	return upstream.NewPool(upstream.PoolOptions{
		Name:    oci.DockerHub,
		Reserve: func(limit int) int { return limit * reserve / 100 },
		Aside:   func(string, error, time.Time) {},
		Back:    func(string) {},
		Members: []upstream.Member{{
			Name: "anonymous", Anonymous: true, Budget: quota.Budget, Stamp: func() string { return "" },
			Registry: newRegistry(t, hub, quota),
		}},
	})
}

// newMirror runs a cache as the daemon has it. stop ends it.
func newMirror(t *testing.T, pool *upstream.Pool) (mirror *cache.Cache, stop func()) {
	t.Helper()
	dir := t.TempDir()
	store, err := disk.Open(dir)
	check(t, err)
	parts := filepath.Join(dir, "fills")
	check(t, os.MkdirAll(parts, 0o755))
	mirror, err = cache.New(cache.Options{
		Next: pool, Store: store, Policy: lru.NewPolicy(), Index: nowhere{}, Parts: parts, MaxSize: 1 << 30,
		Fresh: func(oci.Ref) time.Duration { return time.Minute }, MaxStale: 30 * day, Quota: spending{pool},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mirror.Run(ctx) }()
	return mirror, func() {
		cancel()
		check(t, <-done)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// live spends the days of the calendar with what registry answers.
func (o *office) live(t *testing.T, registry oci.Registry) (r result) {
	t.Helper()
	midnight := time.Now()
	known := make(map[int]bool)
	for _, e := range calendar() {
		<-time.After(time.Until(midnight.Add(e.at)))
		if e.move {
			o.publish(e.image)
			continue
		}
		r.pulls++
		via, err := o.pull(t, registry, e.image)
		synctest.Wait() // the fill behind it is done
		switch {
		case err == nil:
			known[e.image] = true
		case known[e.image]:
			r.failedOld++
		default:
			r.failedNew++
		}
		if err == nil && via == oci.Stale {
			r.stale++
		}
	}
	n := o.hub.Counters()
	r.counted, r.refused = n.ManifestGETs, n.Refused
	return r
}

// pull reads the index that the tag names, and the manifest in it.
func (o *office) pull(t *testing.T, registry oci.Registry, image int) (oci.Via, error) {
	t.Helper()
	ref, err := oci.ParseManifest(oci.DockerHub, repository(image), tag)
	check(t, err)
	index, err := read(t, registry, ref)
	if err != nil {
		return "", err
	}
	_, err = read(t, registry, ref.At(o.children[index.Digest]))
	return index.Via, err
}

// read fails the test for anything but the hub's limit.
func read(t *testing.T, registry oci.Registry, ref oci.Ref) (oci.Answer, error) {
	t.Helper()
	content, err := registry.Open(t.Context(), ref)
	if err != nil {
		if !strings.Contains(err.Error(), "pull rate limit") {
			t.Fatal(err)
		}
		return oci.Answer{}, err
	}
	_, err = io.Copy(io.Discard, content.Body)
	check(t, err)
	check(t, content.Close())
	return content.Answer, nil
}

// TestOfficeDay holds the figures of docs/quota.md against what happens.
func TestOfficeDay(t *testing.T) {
	rows := []string{
		"| limit | | pulls counted | failed, new image | failed, known image | stale | refused |",
		"|---|---|---|---|---|---|---|",
	}
	for _, limit := range []int{100, 200} {
		for _, policy := range []struct {
			name    string
			mirror  bool
			reserve int // per cent
		}{
			{"no mirror", false, 0},
			{"mirror, no reserve", true, 0},
			{"mirror, reserve 10 %", true, 10},
			{"mirror, reserve 50 %", true, 50},
		} {
			hub, err := hubsim.Start(hubsim.Options{Limit: limit})
			check(t, err)
			t.Cleanup(hub.Close)
			var r result
			synctest.Test(t, func(t *testing.T) {
				if !policy.mirror {
					r = newOffice(hub).live(t, newRegistry(t, hub, hub.Transport()))
					return
				}
				pool := newPool(t, hub, policy.reserve)
				mirror, stop := newMirror(t, pool)
				r = newOffice(hub).live(t, mirror)
				stop()
			})
			rows = append(rows, r.row(limit, policy.name))
			if policy.mirror && (r.failedOld > 0 || r.refused > 4*days) {
				t.Errorf("%d, %s: %d pulls of known images failed, %d requests were refused", limit, policy.name, r.failedOld, r.refused)
			}
			if windows := days * 4; r.counted > limit*windows {
				t.Errorf("%d, %s: %d pulls are more than %d windows allow", limit, policy.name, r.counted, windows)
			}
		}
	}
	table := strings.Join(rows, "\n")
	t.Log("\n" + table)
	doc, err := os.ReadFile("../../docs/quota.md")
	check(t, err)
	_, written, _ := strings.Cut(string(doc), "<!-- office-table -->\n")
	written, _, _ = strings.Cut(written, "\n<!-- /office-table -->")
	if written != table {
		t.Errorf("docs/quota.md has other figures:\n%s", written)
	}
}
