package index

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"mirrord/internal/cache"
	"mirrord/internal/oci"
	"mirrord/internal/tags"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Index {
	t.Helper()
	ix, err := Open(dir, Options{Warn: func(message string) { t.Errorf("badger warns: %s", message) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIndex(t, ix) })
	return ix
}

func closeIndex(t *testing.T, ix *Index) {
	t.Helper()
	if err := ix.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func blob(i int) cache.BlobRecord {
	mediaType := ""
	if i%2 == 0 {
		mediaType = "application/vnd.oci.image.manifest.v1+json"
	}
	return cache.BlobRecord{
		Descriptor: oci.Descriptor{MediaType: mediaType, Digest: digest.FromString(fmt.Sprint(i)), Size: int64(i) << 20},
		Used:       time.Unix(1_700_000_000+int64(i), 0).UTC(),
		Verified:   time.Unix(1_600_000_000+int64(i), 0).UTC(),
	}
}

func tag(t *testing.T, upstream, repository, name string) tags.Record {
	t.Helper()
	ref, err := oci.ParseManifest(upstream, repository, name)
	check(t, err)
	return tags.Record{
		Ref:       ref,
		Latest:    blob(2).Descriptor,
		Previous:  blob(4).Descriptor,
		Checked:   time.UnixMilli(1_700_000_000_123).UTC(),
		Confirmed: time.UnixMilli(1_690_000_000_456).UTC(),
	}
}

func blobs(t *testing.T, ix *Index) map[oci.Digest]cache.BlobRecord {
	t.Helper()
	got := make(map[oci.Digest]cache.BlobRecord)
	for r, err := range ix.Blobs() {
		check(t, err)
		got[r.Digest] = r
	}
	return got
}

func indexedTags(t *testing.T, ix *Index) map[string]tags.Record {
	t.Helper()
	got := make(map[string]tags.Record)
	for r, err := range ix.Tags() {
		check(t, err)
		got[r.Ref.String()] = r
	}
	return got
}

func want[K comparable, V any](t *testing.T, got, want map[K]V) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b oci.Ref) bool { return a == b })); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
}
