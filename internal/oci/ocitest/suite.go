package ocitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"mirrord/internal/oci"
)

// Repo is the repository that the suite fills, at Upstream.
const (
	Upstream = "registry.example"
	Repo     = "team/app"
)

// Run tests that a Registry keeps the contract of oci.Registry. open returns the
// Registry to test, with fake as its upstream, and registers its cleanup with t.
func Run(t *testing.T, open func(t *testing.T, fake *Fake) oci.Registry) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Fake, oci.Registry)
	}{
		{"resolve", testResolve},
		{"incomplete descriptor", testIncomplete},
		{"open", testOpen},
		{"exact bytes", testExactBytes},
		{"empty blob", testEmpty},
		{"seek", testSeek},
		{"unknown", testUnknown},
		{"upstream fails", testUnavailable},
		{"limited", testLimited},
		{"wrong byte", testWrongByte},
		{"wrong byte, resumed", testWrongTail},
		{"parts", testParts},
		{"short body", testShortBody},
		{"reader's context", testContext},
		{"many at once", testConcurrent},
		{"tags", testTags},
		{"referrers", testReferrers},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := new(Fake)
			test.run(t, fake, open(t, fake))
		})
	}
}

func testResolve(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(1000, 1)
	b := fake.AddBlob(Repo, blob)
	raw := []byte(`{"schemaVersion":2}`)
	m := fake.AddManifest(Repo, "v1", ocispec.MediaTypeImageManifest, raw)
	want := oci.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: m, Size: int64(len(raw))}
	for ref, want := range map[oci.Ref]oci.Descriptor{
		ManifestRef(t, "v1"):       want,
		ManifestRef(t, m.String()): want,
		BlobRef(t, b):              {Digest: b, Size: 1000},
	} {
		got, err := r.Resolve(t.Context(), ref)
		if diff := cmp.Diff(want, got.Descriptor); err != nil || diff != "" {
			t.Errorf("resolve %s: %v\n%s", ref, err, diff)
		}
		if got.Via == "" {
			t.Errorf("resolve %s: no Via", ref)
		}
		if n := fake.Calls("Open", ref.Reference()); n > 0 {
			t.Errorf("resolve %s moved content", ref)
		}
	}
}

// testIncomplete covers upstreams whose HEAD does not describe a manifest. Then
// Resolve returns the right digest and either all the right details or a Result
// that is not Complete, and Open always returns the right details.
func testIncomplete(t *testing.T, fake *Fake, r oci.Registry) {
	for name, claim := range map[string]func(*oci.Descriptor){
		"size-0":  func(d *oci.Descriptor) { d.Size = 0 },
		"no-size": func(d *oci.Descriptor) { d.Size = oci.UnknownSize },
		"no-type": func(d *oci.Descriptor) { d.MediaType = "" },
		"general": func(d *oci.Descriptor) { d.MediaType = "application/octet-stream" },
	} {
		raw := fmt.Appendf(nil, `{"schemaVersion":2,"name":%q}`, name)
		want := oci.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Size: int64(len(raw))}
		want.Digest = fake.AddManifest(Repo, name, want.MediaType, raw)
		fake.Claim(func(d oci.Descriptor) oci.Descriptor { claim(&d); return d })
		got, err := r.Resolve(t.Context(), ManifestRef(t, name))
		if err != nil || got.Digest != want.Digest || got.Complete() && got.Descriptor != want {
			t.Errorf("%s: resolve: %+v, %v; want %+v", name, got, err, want)
		}
		_, opened, err := Read(t.Context(), r, ManifestRef(t, name))
		if err != nil || opened.Descriptor != want {
			t.Errorf("%s: open: %+v, %v; want %+v", name, opened, err, want)
		}
	}
	raw := []byte(`{"schemaVersion":2,"name":"by GET"}`)
	d := fake.AddManifest(Repo, "by-get", ocispec.MediaTypeImageManifest, raw)
	fake.Fail(func(c Call) error {
		if c.Method == "Resolve" {
			return oci.Errorf(oci.Unavailable, "%w", oci.ErrNeedsGet)
		}
		return nil
	})
	if got, err := r.Resolve(t.Context(), ManifestRef(t, "by-get")); err == nil && got.Digest != d || err != nil && !oci.Temporary(err) {
		t.Errorf("by GET: resolve: %+v, %v", got, err)
	}
	if got, _, err := Read(t.Context(), r, ManifestRef(t, "by-get")); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("by GET: open: %q, %v", got, err)
	}
}

func testOpen(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(300_000, 2)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	for range 3 {
		got, result, err := Read(t.Context(), r, ref)
		if err != nil || !bytes.Equal(got, blob) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if result.Size != int64(len(blob)) || result.Digest != ref.Digest() || result.Via == "" {
			t.Errorf("result %+v", result)
		}
	}
}

func testExactBytes(t *testing.T, fake *Fake, r oci.Registry) {
	raw := []byte("{ \"schemaVersion\" :2,\n\t\"x\":\"\u00e4\" }\n")
	const mediaType = "application/vnd.docker.distribution.manifest.list.v2+json"
	d := fake.AddManifest(Repo, "odd", mediaType, raw)
	for _, reference := range []string{"odd", d.String(), "odd"} {
		got, result, err := Read(t.Context(), r, ManifestRef(t, reference))
		if err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%s: %q, %v", reference, got, err)
		}
		if result.MediaType != mediaType || result.Digest != d {
			t.Errorf("%s: result %+v", reference, result)
		}
	}
}

func testEmpty(t *testing.T, fake *Fake, r oci.Registry) {
	ref := BlobRef(t, fake.AddBlob(Repo, nil))
	got, result, err := Read(t.Context(), r, ref)
	if err != nil || len(got) != 0 || result.Size != 0 {
		t.Errorf("%d bytes, %+v, %v", len(got), result, err)
	}
}

func testSeek(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(2<<20, 3)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	content, err := r.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	body, ok := content.Body.(io.ReadSeeker)
	if !ok {
		t.Skip("the body of this Registry does not seek")
	}
	for _, offset := range []int64{1 << 20, 0, int64(len(blob)) - 10, 5} {
		if _, err := body.Seek(offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(body, got); err != nil || !bytes.Equal(got, blob[offset:offset+10]) {
			t.Errorf("at %d: %v", offset, err)
		}
	}
	if end, err := body.Seek(0, io.SeekEnd); err != nil || end != int64(len(blob)) {
		t.Errorf("end at %d, %v", end, err)
	}
}

func testUnknown(t *testing.T, fake *Fake, r oci.Registry) {
	fake.AddManifest(Repo, "v1", ocispec.MediaTypeImageManifest, []byte("{}"))
	absent := oci.FromBytes([]byte("absent"))
	for ref, want := range map[oci.Ref]oci.Code{
		ManifestRef(t, "absent"):        oci.ManifestUnknown,
		ManifestRef(t, absent.String()): oci.ManifestUnknown,
		BlobRef(t, absent):              oci.BlobUnknown,
	} {
		_, err := r.Resolve(t.Context(), ref)
		if got := oci.CodeOf(err); err == nil || got != want {
			t.Errorf("resolve %s: %v, want code %s", ref, err, want)
		}
		_, _, err = Read(t.Context(), r, ref)
		if got := oci.CodeOf(err); err == nil || got != want {
			t.Errorf("open %s: %v, want code %s", ref, err, want)
		}
	}
}

func testUnavailable(t *testing.T, fake *Fake, r oci.Registry) {
	fake.Fail(func(Call) error { return oci.Errorf(oci.Unavailable, "connection lost") })
	for _, ref := range []oci.Ref{ManifestRef(t, "v1"), BlobRef(t, oci.FromBytes(nil))} {
		if _, err := r.Resolve(t.Context(), ref); err == nil {
			t.Errorf("resolve %s: no error", ref)
		}
		if _, _, err := Read(t.Context(), r, ref); err == nil || !strings.Contains(err.Error(), "temporarily unavailable") && !oci.Temporary(err) {
			t.Errorf("open %s: %v, want a temporary error", ref, err)
		}
	}
}

func testLimited(t *testing.T, fake *Fake, r oci.Registry) {
	fake.Fail(func(Call) error { return &oci.LimitError{Kind: oci.LimitPulls, Upstream: Upstream, Message: "enough"} })
	if _, _, err := Read(t.Context(), r, ManifestRef(t, "v1")); err == nil || !oci.Temporary(err) {
		t.Errorf("%v, want a temporary error", err)
	}
}

func testWrongByte(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(300_000, 4)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader {
		return io.MultiReader(strings.NewReader("x"), io.NewSectionReader(bytes.NewReader(blob), 1, 1<<40))
	})
	got, _, err := Read(t.Context(), r, ref)
	if err == nil || len(got) >= len(blob) {
		t.Fatalf("%d of %d bytes of a wrong blob, %v", len(got), len(blob), err)
	}
	fake.Wrap(nil)
	if got, _, err := Read(t.Context(), r, ref); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
}

// testWrongTail reads from the middle to the end, as a client does that resumes a
// download.
func testWrongTail(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(300_000, 8)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	wrong := bytes.Clone(blob)
	wrong[299_900] ^= 1
	fake.Wrap(func(oci.Ref, io.ReadSeeker) io.Reader { return bytes.NewReader(wrong) })
	content, err := r.Open(t.Context(), ref)
	if err != nil {
		return // the Registry has verified it before
	}
	defer func() { _ = content.Close() }()
	if content.Via != oci.Fill {
		t.Skip("this Registry only verifies what is read from the beginning")
	}
	if _, err := content.Body.(io.Seeker).Seek(280_000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(content.Body); err == nil || len(got) >= 20_000 {
		t.Errorf("%d of 20000 bytes of a wrong blob's end, %v", len(got), err)
	}
}

func testParts(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(2<<20, 9)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	size := int64(len(blob))
	parts := []oci.Span{{Begin: size - 10, End: size}, {Begin: 0, End: 2}, {Begin: 1 << 20, End: 1<<20 + 9}, {Begin: size - 1, End: size}}
	for range 2 {
		content, err := r.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		body, ok := content.Body.(io.ReadSeeker)
		if !ok {
			t.Skip("the body of this Registry does not seek")
		}
		if p, ok := content.Body.(oci.PartReader); ok {
			p.ReadParts(parts)
		}
		for _, part := range parts {
			if _, err := body.Seek(part.Begin, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, part.End-part.Begin)
			if _, err := io.ReadFull(body, got); err != nil || !bytes.Equal(got, blob[part.Begin:part.End]) {
				t.Errorf("part %+v: %v", part, err)
			}
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testShortBody(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(300_000, 5)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	fake.Wrap(func(_ oci.Ref, body io.ReadSeeker) io.Reader { return io.LimitReader(body, 200_000) })
	if got, _, err := Read(t.Context(), r, ref); err == nil {
		t.Fatalf("%d of %d bytes and no error", len(got), len(blob))
	}
	fake.Wrap(nil)
	if got, _, err := Read(t.Context(), r, ref); err != nil || !bytes.Equal(got, blob) {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
}

func testContext(t *testing.T, fake *Fake, r oci.Registry) {
	ref := BlobRef(t, fake.AddBlob(Repo, Content(1000, 6)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Read(ctx, r, ref); err != nil && !errors.Is(err, context.Canceled) && !oci.Temporary(err) {
		t.Errorf("%v, want the context's error or the content", err)
	}
	if got, _, err := Read(t.Context(), r, ref); err != nil || len(got) != 1000 {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
}

func testConcurrent(t *testing.T, fake *Fake, r oci.Registry) {
	blob := Content(500_000, 7)
	ref := BlobRef(t, fake.AddBlob(Repo, blob))
	var group errgroup.Group
	for i := range 20 {
		group.Go(func() error {
			got, _, err := Read(t.Context(), r, ref)
			if err == nil && !bytes.Equal(got, blob) {
				err = fmt.Errorf("reader %d got %d wrong bytes", i, len(got))
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
