package fleet_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// TestUploadsGoOn finds that what cannot be uploaded does not keep others from it, and is
// not tried for ever.
func TestUploadsGoOn(t *testing.T) {
	for name, test := range map[string]func(m *mirror){
		"the upstream has it no longer": func(m *mirror) {
			m.unknown = oci.Errorf(oci.BlobUnknown, "gone")
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Minute, func(u *fleet.Uploads) { u.Add(ref) })
			m.wantWaiting(0)
			if len(m.refused) != 1 || !errors.Is(m.refused[0], m.unknown) {
				m.Errorf("refused: %v", m.refused)
			}
		},
		"the store does not do it": func(m *mirror) {
			m.memory.Faults = func(buckettest.Op, string) buckettest.Fault { return buckettest.Fault{Err: bucket.ErrUnsupported} }
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Minute, func(u *fleet.Uploads) { u.Add(ref) })
			m.wantWaiting(0)
			if n := m.memory.Counts()[buckettest.Upload]; n != 1 {
				m.Errorf("sent %d times", n)
			}
		},
		"the store does not respond": func(m *mirror) {
			var refs []oci.Ref
			for i := range 3 {
				refs = append(refs, m.cache(ocitest.Content(1000, byte(i))))
			}
			m.memory.Faults = func(_ buckettest.Op, k string) buckettest.Fault {
				if k == key(refs[2].Digest()) {
					return buckettest.Fault{}
				}
				return buckettest.Fault{Before: 24 * time.Hour}
			}
			m.run(2*time.Minute, func(u *fleet.Uploads) {
				for _, ref := range refs {
					u.Add(ref)
				}
			})
			m.memory.Faults = nil
			m.want(refs[2], m.cached[refs[2].Digest()])
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(newMirror(t)) })
		})
	}
}

// changed is a Bucket whose objects are changed before they are read.
type changed struct {
	bucket.Bucket
	change func(ctx context.Context, from int64, o *bucket.Object)
}

func (b changed) Get(ctx context.Context, key string, from int64, etag string) (*bucket.Object, error) {
	o, err := b.Bucket.Get(ctx, key, from, etag)
	if err == nil {
		b.change(ctx, from, o)
	}
	return o, err
}

// bytewise yields a byte in ten seconds.
type bytewise struct {
	io.ReadCloser
	ctx context.Context
}

func (d bytewise) Read(p []byte) (int, error) {
	select {
	case <-time.After(10 * time.Second):
		return d.ReadCloser.Read(p[:1])
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	}
}

// TestBytewiseManifest finds that a manifest that comes byte by byte is left for the
// upstream.
func TestBytewiseManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, memory := new(ocitest.Fake), buckettest.NewMemory()
		manifest := []byte(`{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageManifest + `"}`)
		d := fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageManifest, manifest)
		put(t, memory, d, manifest)
		slow := changed{memory, func(ctx context.Context, _ int64, o *bucket.Object) { o.Body = bytewise{o.Body, ctx} }}
		begun := time.Now()
		wantRead(t, fleet.New(fleet.Options{Next: fake, Bucket: slow}), ocitest.ManifestRef(t, d.String()), manifest, oci.Pass)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %v, want 5 s at most", took)
		}
	})
}

// TestResized finds that an object which has another size when it is opened again is left
// for the upstream, before a client has seen anything of that.
func TestResized(t *testing.T) {
	fake, memory := new(ocitest.Fake), buckettest.NewMemory()
	blob := ocitest.Content(100_000, 1)
	ref := ocitest.BlobRef(t, fake.AddBlob(ocitest.Repo, blob))
	put(t, memory, ref.Digest(), blob)
	lie := changed{memory, func(_ context.Context, from int64, o *bucket.Object) {
		if from > 0 {
			o.Size = from + 1
			return
		}
		o.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(o.Body, 30_000), broken{}), o.Body}
	}}
	wantRead(t, fleet.New(fleet.Options{Next: fake, Bucket: lie}), ref, blob, oci.Shared)
	if n := fake.Calls("Open", ref.Reference()); n != 1 {
		t.Errorf("the upstream was asked %d times, want once", n)
	}
}
