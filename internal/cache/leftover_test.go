package cache_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// breakAfter makes the fake's bodies break off n bytes after their beginning.
func breakAfter(fake *ocitest.Fake, n int64) {
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		return &broken{ReadSeeker: body, left: n, from: func(int64) {}}
	})
}

// A fill without space drops the oldest unfinished fills, and no more than it needs.
func TestOldestPartsAreDroppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 4, 150_000)
		f := start(t, fake, budget(1_000_000))
		breakAfter(fake, 100_000)
		for _, ref := range refs {
			if _, _, err := ocitest.Read(t.Context(), f, ref); err == nil {
				t.Fatal("a broken fill completed")
			}
			f.Settled(t)
			<-time.After(time.Second)
		}
		fake.Wrap(nil)
		next := ocitest.Content(750_000, 99) // 150,000 bytes are in its way
		f.MustRead(t, ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, next)), next, oci.Fill)
		f.Settled(t)
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) != 2 {
			t.Fatalf("%d of 4 unfinished fills are left, want 2", len(left))
		}
		for _, ref := range refs[2:] {
			if left := cachetest.Files(t, f.Dir, "fills", "sha256-"+ref.Digest().Encoded()+"*"); len(left) != 1 {
				t.Errorf("left of %s: %v", ref, left)
			}
		}
	})
}

// The downloads of one digest from two upstreams break off at once: the longer part is
// stored, and nothing else is left.
func TestTwoUpstreamsLeaveOnePart(t *testing.T) {
	for _, first := range []int64{100_000, 120_000} {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			refs, contents := blobs(t, fake, 1, 200_000)
			f := start(t, fake)
			var from atomic.Int64
			fake.Wrap(func(ref oci.Ref, body io.ReadSeeker) io.Reader {
				left := first
				if ref != refs[0] {
					left = 220_000 - first
				}
				return cachetest.Slow(&broken{ReadSeeker: body, left: left, from: from.Store}, 10_000)
			})
			for _, ref := range []oci.Ref{refs[0], elsewhere(t, refs[0])} {
				go func() { _, _, _ = ocitest.Read(t.Context(), f, ref) }()
			}
			synctest.Wait()
			f.Settled(t)
			left := cachetest.Files(t, f.Dir, "fills", "*")
			if len(left) != 1 {
				t.Fatalf("left behind: %v", left)
			}
			if info, err := os.Stat(left[0]); err != nil || info.Size() != 120_000 {
				t.Errorf("%d bytes are left of the longer part of 120,000, %v", info.Size(), err)
			}
			fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
				return &broken{ReadSeeker: body, left: 200_000, from: from.Store}
			})
			f.MustRead(t, refs[0], contents[0], oci.Fill)
			if from.Load() != 120_000 {
				t.Errorf("resumed at %d", from.Load())
			}
			f.Settled(t)
			if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// The part that one upstream left is dropped when another upstream completes the blob.
func TestPartOfACompletedBlobIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 200_000)
		f := start(t, fake)
		fake.Wrap(func(ref oci.Ref, body io.ReadSeeker) io.Reader {
			if ref == refs[0] {
				return cachetest.Slow(body, 10_000)
			}
			return &broken{ReadSeeker: body, left: 100_000, from: func(int64) {}}
		})
		go func() {
			got, _, err := ocitest.Read(t.Context(), f, refs[0])
			if err != nil || !bytes.Equal(got, contents[0]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}()
		synctest.Wait()
		if _, _, err := ocitest.Read(t.Context(), f, elsewhere(t, refs[0])); err == nil {
			t.Error("a broken fill completed")
		}
		f.Settled(t)
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// Of two parts of one digest that a kill left, the longer is resumed and the other
// removed.
func TestLongerPartIsLoaded(t *testing.T) {
	for _, sizes := range [][2]int{{100_000, 120_000}, {120_000, 100_000}} {
		fake := new(ocitest.Fake)
		refs, contents := blobs(t, fake, 1, 200_000)
		f := start(t, fake)
		f.Stop()
		for i, size := range sizes {
			name := fmt.Sprintf("sha256-%s.blob.other.%d.%d", refs[0].Digest().Encoded(), size, i)
			if err := os.WriteFile(filepath.Join(f.Dir, "fills", name), contents[0][:size], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f.Restart(t)
		if left := cachetest.Files(t, f.Dir, "fills", "*"); len(left) != 1 {
			t.Errorf("left behind: %v", left)
		}
		var from atomic.Int64
		fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
			return &broken{ReadSeeker: body, left: 200_000, from: from.Store}
		})
		f.MustRead(t, refs[0], contents[0], oci.Fill)
		if from.Load() != 120_000 {
			t.Errorf("resumed at %d", from.Load())
		}
	}
}
