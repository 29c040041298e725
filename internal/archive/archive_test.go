package archive_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// What one mirror exports another imports: with the same bytes, under the same names, as
// old as it was; and again without effect.
func TestRoundTrip(t *testing.T) {
	here, there := start(t), start(t)
	one, two := newSample(t, "one"), newSample(t, "two")
	images := []archive.Image{one.tag(t, here, "docker.io/library/app:1"), two.tag(t, here, "docker.io/org/other:2")}
	raw := export(t, here, archive.PlanOptions{}, images...)
	if again := export(t, here, archive.PlanOptions{}, images...); !bytes.Equal(raw, again) {
		t.Error("the same images are another archive")
	}
	sum, err := importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{})
	if err != nil || sum.Failed() > 0 || sum.Blobs != 8 || len(sum.Images) != 2 {
		t.Fatalf("%+v, %v", sum, err)
	}
	there.Fake.Fail(cachetest.Down)
	there.MustRead(t, mustParse(t, "docker.io/library/app:1"), one.index, oci.Stale)
	there.MustRead(t, mustParse(t, "docker.io/library/app@"+oci.FromBytes(one.amd64).String()), one.amd64, oci.Hit)
	for _, content := range two.blobs[:2] {
		there.MustRead(t, ocitest.BlobRef(t, oci.FromBytes(content)), content, oci.Hit)
	}
	if known, _ := there.Known(images[0].Ref); !known.Checked.Equal(images[0].Checked) {
		t.Errorf("checked at %s, want %s", known.Checked, images[0].Checked)
	}
	sum, err = importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{})
	if err != nil || sum.Failed() > 0 || sum.Blobs != 0 || sum.Present != 8 {
		t.Errorf("again: %+v, %v", sum, err)
	}
}

// An import that broke off goes on where it ended.
func TestInterrupted(t *testing.T) {
	here, there := start(t), start(t)
	s := newSample(t, "app")
	raw := export(t, here, archive.PlanOptions{}, s.tag(t, here, "docker.io/library/app:1"))
	for end := 0; end < len(raw)-1024; end += 700 {
		sum, err := importAll(t, there, bytes.NewReader(raw[:end]), archive.ImportOptions{})
		if err == nil || len(sum.Images) > 0 {
			t.Fatalf("%d of %d bytes: %+v, %v", end, len(raw), sum, err)
		}
	}
	sum, err := importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{})
	if err != nil || sum.Failed() > 0 || sum.Present == 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestPlanMissing(t *testing.T) {
	f := start(t)
	s := newSample(t, "app")
	image := s.tag(t, f, "docker.io/library/app:1")
	for _, test := range []struct {
		name      string
		platforms []string
		cached    [][]byte
		missing   string // in the only missing part; empty: none
		fails     string
	}{
		{name: "what is cached"},
		{name: "a platform", platforms: []string{"linux/amd64"}},
		{name: "one that is not cached", platforms: []string{"linux/arm64"}, missing: "manifest of linux/arm64"},
		{name: "both", platforms: []string{"linux/amd64", "linux/arm64"}, missing: "manifest of linux/arm64"},
		{name: "one that it has not", platforms: []string{"linux/s390x"}, fails: "it has none of the chosen platforms, but linux/amd64, linux/arm64"},
		{name: "none", platforms: []string{"a/b/c/d"}, fails: "is not a platform"},
		{name: "a layer", cached: [][]byte{s.arm64, s.blobs[2]}, missing: "layer " + oci.FromBytes(s.blobs[3]).String()},
	} {
		for _, raw := range test.cached {
			put(t, f, raw)
		}
		p, err := archive.NewPlan(t.Context(), f.Cache, []archive.Image{image}, archive.PlanOptions{Platforms: test.platforms})
		switch {
		case test.fails != "":
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %v, want %q", test.name, err, test.fails)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.missing == "" && len(p.Missing) > 0, test.missing != "" && (len(p.Missing) != 1 || !strings.Contains(p.Missing[0].String(), test.missing)):
			t.Errorf("%s: missing %v, want %q", test.name, p.Missing, test.missing)
		}
	}
}

// What is missing is fetched, if it may be.
func TestFetch(t *testing.T) {
	f := start(t)
	s := newSample(t, "app")
	image := s.tag(t, f, "docker.io/library/app:1")
	for _, raw := range s.blobs {
		f.Fake.AddBlob(repo, raw)
	}
	f.Fake.AddManifest(repo, "", "application/vnd.oci.image.manifest.v1+json", s.arm64)
	raw := export(t, f, archive.PlanOptions{Platforms: []string{"linux/arm64"}, Fetch: f.Cache.Fetch}, image)
	there := start(t)
	if sum, err := importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{}); err != nil || sum.Failed() > 0 || sum.Blobs != 4 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// An attestation is exported with its image when it is cached, and is not missing else.
func TestAttestation(t *testing.T) {
	f := start(t)
	s := newSample(t, "app")
	s.tag(t, f, "docker.io/library/app:1")
	statement := []byte("statement")
	attestation := image(t, []byte("{}"), statement)
	all := index(t, map[string][]byte{"linux/amd64": s.amd64, "unknown/unknown": attestation})
	put(t, f, all)
	ref := mustParse(t, "docker.io/library/app:2")
	described, _ := f.Cache.Cached(ref.At(oci.FromBytes(all)))
	img := archive.Image{Ref: ref, Descriptor: described}
	for _, want := range []int{4, 7} {
		p, err := archive.NewPlan(t.Context(), f.Cache, []archive.Image{img}, archive.PlanOptions{})
		if err != nil || len(p.Missing) > 0 || len(p.Blobs) != want {
			t.Errorf("%d blobs instead of %d, missing %v, %v", len(p.Blobs), want, p.Missing, err)
		}
		for _, raw := range [][]byte{attestation, []byte("{}"), statement} {
			put(t, f, raw)
		}
	}
}

func TestWriteEvicted(t *testing.T) {
	f, empty := start(t), start(t)
	s := newSample(t, "app")
	p, err := archive.NewPlan(t.Context(), f.Cache, []archive.Image{s.tag(t, f, "docker.io/library/app:1")}, archive.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := archive.Write(context.Background(), new(bytes.Buffer), empty.Cache, p); err == nil || !strings.Contains(err.Error(), "export again") {
		t.Errorf("%v", err)
	}
}

// A tag of which the mirror knows something newer stays, unless it is forced.
func TestNewer(t *testing.T) {
	here, there := start(t), start(t)
	s := newSample(t, "app")
	raw := export(t, here, archive.PlanOptions{}, s.tag(t, here, "docker.io/library/app:1"))
	newer := newSample(t, "newer").tag(t, there, "docker.io/library/app:1")
	if err := there.Adopt(newer.Ref, newer.Descriptor, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	sum, err := importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{})
	if err != nil || sum.Failed() > 0 || !sum.Images[0].Newer {
		t.Errorf("%+v, %v", sum, err)
	}
	sum, err = importAll(t, there, bytes.NewReader(raw), archive.ImportOptions{Force: true})
	if known, _ := there.Known(newer.Ref); err != nil || sum.Images[0].Error != "" || known.Latest.Digest != oci.FromBytes(s.index) {
		t.Errorf("forced: %+v, %v", sum, err)
	}
}

// An archive that is larger than the cache is refused, and evicts nothing of itself.
func TestDoesNotFit(t *testing.T) {
	here := start(t)
	there := start(t, func(o *cachetest.Options) { o.Cache.Limits.MaxSize = 50_000 })
	images := []archive.Image{}
	for _, tag := range []string{"1", "2", "3"} {
		images = append(images, newSample(t, tag).tag(t, here, "docker.io/library/app:"+tag))
	}
	sum, err := importAll(t, there, bytes.NewReader(export(t, here, archive.PlanOptions{}, images...)), archive.ImportOptions{})
	if err == nil || !strings.Contains(err.Error(), "cache.max_size") || len(sum.Images) > 0 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func TestPlatforms(t *testing.T) {
	f := start(t)
	image := newSample(t, "app").tag(t, f, "docker.io/library/app:1")
	for text, ok := range map[string]bool{
		"linux/amd64": true, "linux/x86_64": true, "linux/aarch64": true, "linux/arm64/v8": true,
		"linux/arm": false, "windows/amd64": false, "linux": false, "": false, "/": false,
	} {
		if _, err := archive.NewPlan(t.Context(), f.Cache, []archive.Image{image}, archive.PlanOptions{Platforms: []string{text}}); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
