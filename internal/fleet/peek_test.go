package fleet_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

const someImage = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `"}`

// TestHas finds that a manifest which the bucket has is there for the next Open, whatever
// happens to the bucket, and for no other.
func TestHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		ref := ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "v1", ocispec.MediaTypeImageManifest, []byte(someImage)).String())
		put(t, memory, ref.Digest(), []byte(someImage))
		r := fleet.New(fleet.Options{Next: fake, Bucket: memory})
		if d, ok := r.Has(t.Context(), ref); !ok || d.MediaType != ocispec.MediaTypeImageManifest || d.Size != int64(len(someImage)) {
			t.Fatalf("%+v, %v", d, ok)
		}
		memory.Faults = func(buckettest.Op, string) buckettest.Fault { return buckettest.Fault{Err: errors.New("it is down")} }
		wantRead(t, r, ref, []byte(someImage), oci.Shared)
		if n := fake.Calls("Open", ref.Reference()); n != 0 {
			t.Errorf("the upstream was asked %d times", n)
		}
		wantRead(t, r, ref, []byte(someImage), oci.Pass)
	})
}

// TestHasNot finds that what the bucket does not have is asked for once in ten seconds, and
// that a slow bucket is not waited for.
func TestHasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := buckettest.NewMemory()
		ref := ocitest.ManifestRef(t, oci.FromBytes([]byte(someImage)).String())
		r := fleet.New(fleet.Options{Next: new(ocitest.Fake), Bucket: memory})
		asked := 0
		memory.Faults = func(op buckettest.Op, _ string) buckettest.Fault {
			if op == buckettest.Get {
				asked++
			}
			return buckettest.Fault{Before: 5 * time.Second}
		}
		want := func(n int, most time.Duration) {
			t.Helper()
			begun := time.Now()
			if d, ok := r.Has(t.Context(), ref); ok || asked != n || time.Since(begun) > most {
				t.Errorf("%+v, %v after %s: the bucket was asked %d times, want %d", d, ok, time.Since(begun), asked, n)
			}
		}
		want(1, time.Second)
		want(1, 0)
		time.Sleep(10 * time.Second)
		put(t, memory, ref.Digest(), []byte(someImage))
		want(2, time.Second)
		memory.Faults = nil
		time.Sleep(10 * time.Second)
		if _, ok := r.Has(t.Context(), ref); !ok {
			t.Error("it is there by now")
		}
	})
}
