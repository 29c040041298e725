package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestContract runs the suite of all Registries over an empty bucket.
func TestContract(t *testing.T) {
	ocitest.Run(t, func(_ *testing.T, fake *ocitest.Fake) oci.Registry {
		return fleet.New(fleet.Options{Next: fake, Bucket: buckettest.NewMemory()})
	})
}

// key is where public content is in the bucket.
func key(d oci.Digest) string { return "v1/pub/b/sha256/" + d.Encoded() }

// put puts content into the bucket, under the digest d.
func put(t *testing.T, b bucket.Bucket, d oci.Digest, content []byte) {
	t.Helper()
	if _, err := b.Put(t.Context(), key(d), content, bucket.Cond{}); err != nil {
		t.Fatal(err)
	}
}

// wantRead wants all of ref, by that way.
func wantRead(t *testing.T, r oci.Registry, ref oci.Ref, content []byte, via oci.Via) {
	t.Helper()
	got, result, err := ocitest.Read(t.Context(), r, ref)
	if err != nil || !bytes.Equal(got, content) || result.Via != via {
		t.Errorf("%d bytes via %s, %v; want %d via %s", len(got), result.Via, err, len(content), via)
	}
}

func TestShared(t *testing.T) {
	fake, memory := new(ocitest.Fake), buckettest.NewMemory()
	r := fleet.New(fleet.Options{Next: fake, Bucket: memory})
	blob, manifest := ocitest.Content(100_000, 1), []byte(`{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageManifest+`"}`)
	put(t, memory, oci.FromBytes(blob), blob)
	put(t, memory, oci.FromBytes(manifest), manifest)
	wantRead(t, r, ocitest.BlobRef(t, oci.FromBytes(blob)), blob, oci.Shared)
	wantRead(t, r, ocitest.ManifestRef(t, oci.FromBytes(manifest).String()), manifest, oci.Shared)

	// From an offset, as a fill resumes, and back.
	content, err := r.Open(oci.WithPartHint(t.Context(), oci.Span{Begin: 60_000}), ocitest.BlobRef(t, oci.FromBytes(blob)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	body := oci.Unverified(content.Body)
	for _, begin := range []int64{60_000, 10} {
		if _, err := body.(io.Seeker).Seek(begin, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, blob[begin:]) {
			t.Errorf("from %d: %d bytes, %v", begin, len(got), err)
		}
	}
	part, err := body.(oci.Reopener).Reopen(t.Context(), oci.Span{Begin: 5, End: 25})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, blob[5:25]) {
		t.Errorf("part: %d bytes, %v", len(got), err)
	}
	if err := part.Close(); err != nil {
		t.Error(err)
	}
	if n := fake.Calls("Open", oci.FromBytes(blob).String()); n > 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestOnlyUpstream finds what the bucket is not asked for, or not believed in.
func TestOnlyUpstream(t *testing.T) {
	fake, memory := new(ocitest.Fake), buckettest.NewMemory()
	r := fleet.New(fleet.Options{Next: fake, Bucket: memory})
	untyped := []byte(`{"schemaVersion":2}`)
	put(t, memory, fake.AddManifest(ocitest.Repo, "v1", ocispec.MediaTypeImageManifest, untyped), untyped)
	wantRead(t, r, ocitest.ManifestRef(t, oci.FromBytes(untyped).String()), untyped, oci.Pass)
	before := memory.Counts()[buckettest.Get]
	wantRead(t, r, ocitest.ManifestRef(t, "v1"), untyped, oci.Pass)
	if after := memory.Counts()[buckettest.Get]; after != before {
		t.Errorf("the bucket was asked for a tag")
	}
}

// breaking is a Bucket whose objects break off after some bytes, as often as it says.
type breaking struct {
	bucket.Bucket
	after int64
	times atomic.Int64
}

func (b *breaking) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Bucket.Get(ctx, key, from, etag)
	if err == nil && b.times.Add(-1) >= 0 {
		o.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(o.Body, b.after), broken{}), o.Body}
	}
	return o, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestBreaks breaks objects in the middle: they are resumed in the bucket, and at last
// from the upstream, and nobody notices.
func TestBreaks(t *testing.T) {
	blob := ocitest.Content(100_000, 1)
	for name, test := range map[string]struct {
		after    int64 // bytes
		times    int64
		upstream int
	}{
		"once":                      {30_000, 1, 0},
		"again and again":           {30_000, 3, 0},
		"at once, then it works":    {0, 1, 0},
		"without a byte in between": {0, 100, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			put(t, memory, ref.Digest(), blob)
			b := &breaking{Bucket: memory, after: test.after}
			b.times.Store(test.times)
			wantRead(t, fleet.New(fleet.Options{Next: fake, Bucket: b}), ref, blob, oci.Shared)
			if n := fake.Calls("Open", ref.Reference()); n != test.upstream {
				t.Errorf("the upstream was asked %d times, want %d", n, test.upstream)
			}
		})
	}
}

// TestReplaced replaces the object while it is read: the rest is read whatever its ETag is
// then, as a touch may change that, and is verified with what came before.
func TestReplaced(t *testing.T) {
	blob := ocitest.Content(100_000, 1)
	for name, test := range map[string]struct {
		by   []byte
		want error
	}{
		"touched":     {blob, nil},
		"other bytes": {ocitest.Content(100_000, 2), oci.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
			put(t, memory, ref.Digest(), blob)
			b := &breaking{Bucket: retagging{memory}, after: 30_000}
			b.times.Store(1)
			r := fleet.New(fleet.Options{Next: fake, Bucket: b})
			content, err := r.Open(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = content.Close() }()
			put(t, memory, ref.Digest(), test.by)
			got, err := io.ReadAll(content.Body)
			if !errors.Is(err, test.want) || err == nil && !bytes.Equal(got, blob) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := fake.Calls("Open", ref.Reference()); n != 0 {
				t.Errorf("the upstream was asked %d times", n)
			}
		})
	}
}

// retagging is a Bucket whose objects have another ETag than a moment ago.
type retagging struct{ bucket.Bucket }

func (b retagging) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	if etag != "" {
		return nil, bucket.ErrPrecondition
	}
	return b.Bucket.Get(ctx, key, from, etag)
}

// fill reads ref like a fill of the cache, which hashes itself.
func fill(t *testing.T, r oci.Registry, ref oci.Ref) error {
	t.Helper()
	content, err := r.Open(t.Context(), ref)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	body, verifier := oci.Unverified(content.Body), ref.Digest().Verifier()
	n, err := io.Copy(verifier, body)
	if err != nil {
		return err
	}
	err = oci.CheckContent(content.Descriptor, n, verifier)
	if checked, ok := body.(oci.Checked); ok {
		checked.Checked(err)
	}
	return err
}

// TestWrongBytes finds that a wrong object costs one fill, is reported, and is not read
// again.
func TestWrongBytes(t *testing.T) {
	blob := ocitest.Content(100_000, 1)
	manifest := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `"}`)
	for name, test := range map[string]struct {
		right, wrong []byte
		manifest     bool
		atOnce       bool // it is known before a byte is passed on
	}{
		"other bytes":    {blob, ocitest.Content(100_000, 2), false, false},
		"truncated":      {blob, blob[:70_000], false, false},
		"too long":       {blob, append(bytes.Clone(blob), 1), false, false},
		"empty":          {blob, nil, false, true},
		"wrong manifest": {manifest, []byte(`{"schemaVersion":2}`), true, true},
		"empty manifest": {manifest, nil, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			fake, memory := new(ocitest.Fake), buckettest.NewMemory()
			var reported []oci.Ref
			r := fleet.New(fleet.Options{Next: fake, Bucket: memory, Hooks: fleet.Hooks{Corrupt: func(ref oci.Ref) { reported = append(reported, ref) }}})
			ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, test.right))
			if test.manifest {
				ref = ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, test.right).String())
			}
			put(t, memory, ref.Digest(), test.wrong)
			if err := fill(t, r, ref); (err == nil) != test.atOnce {
				t.Errorf("first fill: %v", err)
			}
			wantRead(t, r, ref, test.right, oci.Pass)
			if len(reported) != 1 || reported[0] != ref {
				t.Errorf("reported %v", reported)
			}
		})
	}
}

// TestStalls finds that an object which stalls in the middle is left for the upstream.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		blob := ocitest.Content(100_000, 1)
		ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
		put(t, memory, ref.Digest(), blob)
		begun := time.Now()
		wantRead(t, fleet.New(fleet.Options{Next: fake, Bucket: stalling{memory}}), ref, blob, oci.Shared)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("took %v, want two stalls of 15 s", took)
		}
	})
}

// stalling is a Bucket whose objects stall after their first byte, until their context
// ends.
type stalling struct{ bucket.Bucket }

func (b stalling) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Bucket.Get(ctx, key, from, etag)
	if err == nil {
		first := io.LimitReader(o.Body, 1)
		if from > 0 {
			first = io.LimitReader(o.Body, 0)
		}
		o.Body = io.NopCloser(io.MultiReader(first, stalled{ctx}))
	}
	return o, err
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}
