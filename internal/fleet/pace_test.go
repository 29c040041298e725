package fleet_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// trickle yields so many bytes after each pause, and breaks off after some.
type trickle struct {
	io.ReadCloser
	ctx   context.Context
	each  int
	pause time.Duration
	left  int // bytes until it breaks off
}

func (d *trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(d.pause):
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	}
	if d.left <= 0 {
		return broken{}.Read(p)
	}
	n, err := d.ReadCloser.Read(p[:min(len(p), d.each)])
	d.left -= n
	return n, err
}

// TestPace finds that an object which arrives too slowly is left for the upstream at the
// byte where it was, however it does that, and that one which arrives slowly is not.
func TestPace(t *testing.T) {
	blob := ocitest.Content(1_000_000, 1)
	for name, test := range map[string]struct {
		each     int
		pause    time.Duration
		breaks   int
		upstream int
		within   time.Duration
	}{
		"bytewise":                     {1, 2 * time.Second, len(blob), 1, 32 * time.Second},
		"a byte for each request":      {1, time.Second, 1, 1, 32 * time.Second},
		"nearly 4 KiB/s":               {7 << 9, time.Second, len(blob), 1, 32 * time.Second},
		"a little more than 4 KiB/s":   {9 << 9, time.Second, len(blob), 0, 4 * time.Minute},
		"16 KiB/s, and often breaking": {16 << 10, time.Second, 64 << 10, 0, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, memory := new(ocitest.Fake), buckettest.NewMemory()
				ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
				put(t, memory, ref.Digest(), blob)
				slow := changed{memory, func(ctx context.Context, _ int64, o *bucket.Object) {
					o.Body = &trickle{o.Body, ctx, test.each, test.pause, test.breaks}
				}}
				begun := time.Now()
				wantRead(t, fleet.New(fleet.Options{Next: fake, Bucket: slow}), ref, blob, oci.Shared)
				if n := fake.Calls("Open", ref.Reference()); n != test.upstream {
					t.Errorf("the upstream was asked %d times, want %d", n, test.upstream)
				}
				if took := time.Since(begun); took > test.within {
					t.Errorf("took %v, want %v at most", took, test.within)
				}
			})
		})
	}
}

// TestSlowBucketAlone finds that a bucket which is too slow is read to the end while the
// upstream cannot be asked.
func TestSlowBucketAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := buckettest.NewMemory()
		blob := ocitest.Content(100_000, 1)
		ref := ocitest.BlobRef(t, oci.FromBytes(blob))
		put(t, memory, ref.Digest(), blob)
		slow := changed{memory, func(ctx context.Context, _ int64, o *bucket.Object) {
			o.Body = &trickle{o.Body, ctx, 1000, time.Second, len(blob)}
		}}
		wantRead(t, fleet.New(fleet.Options{Next: new(ocitest.Fake), Bucket: slow}), ref, blob, oci.Shared)
	})
}

// TestSlowReader finds that who reads slowly has no slow bucket.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		blob := ocitest.Content(100_000, 1)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		put(t, memory, ref.Digest(), blob)
		content, err := fleet.New(fleet.Options{Next: fake, Bucket: memory}).Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = content.Close() }()
		body, got := oci.Unverified(content.Body), make([]byte, len(blob))
		for read := 0; read < len(got); read += 1000 {
			time.Sleep(10 * time.Second)
			if _, err := io.ReadFull(body, got[read:read+1000]); err != nil {
				t.Fatal(err)
			}
		}
		if n := fake.Calls("Open", ref.Reference()); n != 0 || !bytes.Equal(got, blob) {
			t.Errorf("the upstream was asked %d times", n)
		}
	})
}

// TestSlowBucketFails finds that objects which arrive too slowly make a bucket one that is
// left alone.
func TestSlowBucketFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		slow := changed{memory, func(ctx context.Context, _ int64, o *bucket.Object) {
			o.Body = &trickle{o.Body, ctx, 1, time.Second, 1_000_000}
		}}
		guarded := guard.New(slow, guard.Hooks{})
		r := fleet.New(fleet.Options{Next: fake, Bucket: guarded})
		for i := range 5 {
			blob := ocitest.Content(100_000, byte(i))
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			put(t, memory, ref.Digest(), blob)
			wantRead(t, r, ref, blob, oci.Shared)
		}
		if guarded.Failure() == nil {
			t.Error("the bucket is not left alone")
		}
	})
}
