package access

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cosign"
	"mirrord/internal/cosign/cosigntest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func signedBy(t testing.TB, key *cosigntest.Key) *Signed {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cosign.pub")
	key.WritePublic(t, file)
	keys, err := cosign.LoadKeys([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	return NewSigned(keys)
}

// someImage adds an image that differs by text.
func someImage(t *testing.T, fake *ocitest.Fake, text string) oci.Ref {
	t.Helper()
	return artifact(t, fake, configType, fmt.Sprintf(`{"os":%q}`, text), layerType, "")
}

// indexOf adds an index of images.
func indexOf(t *testing.T, fake *ocitest.Fake, mediaType string, images ...oci.Ref) oci.Ref {
	t.Helper()
	var entries []string
	for _, image := range images {
		entries = append(entries, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"platform":{"os":"linux","architecture":"a"}}`, mediaType, image.Digest()))
	}
	raw := fmt.Sprintf(`{"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, strings.Join(entries, ","))
	return ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageIndex, []byte(raw)).String())
}

// expect checks whether ref is allowed, by digest.
func expect(t *testing.T, s *Signed, r oci.Registry, ref oci.Ref, name string, allowed bool) {
	t.Helper()
	expectTag(t, s, r, ref, "", name, allowed)
}

// expectTag checks whether it is allowed by a tag.
func expectTag(t *testing.T, s *Signed, r oci.Registry, ref oci.Ref, tag, name string, allowed bool) {
	t.Helper()
	switch err := s.Check(t.Context(), r, ref, tag); {
	case allowed && err != nil:
		t.Errorf("%s: %v", name, err)
	case !allowed && (err == nil || oci.CodeOf(err) != oci.Denied || !strings.Contains(err.Error(), "it has no signature by a key of that rule")):
		t.Errorf("%s: %v, want a refusal", name, err)
	}
}

// noReferrers is an upstream without the API.
type noReferrers struct{ *ocitest.Fake }

func (noReferrers) List(context.Context, oci.Listing) (*oci.Page, error) {
	return nil, oci.Errorf(oci.Unsupported, "%w", oci.ErrNoReferrers)
}

// referrersTag writes the list of referrers under the tag that clients use without the
// API.
func referrersTag(fake *ocitest.Fake, image oci.Digest, referrer oci.Digest, artifactType string) oci.Digest {
	raw := fmt.Sprintf(`{"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"artifactType":%q}]}`,
		ocispec.MediaTypeImageIndex, imageType, referrer, artifactType)
	return fake.AddManifest(ocitest.Repo, strings.Replace(image.String(), ":", "-", 1), ocispec.MediaTypeImageIndex, []byte(raw))
}

func TestSigned(t *testing.T) {
	key, stranger := cosigntest.NewKey(t, "P-256"), cosigntest.NewKey(t, "P-256")
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	for name, test := range map[string]struct {
		sign    func(*ocitest.Fake, oci.Digest)
		allowed bool
	}{
		"unsigned":          {func(*ocitest.Fake, oci.Digest) {}, false},
		"tag":               {func(f *ocitest.Fake, d oci.Digest) { key.SignTag(t, f, ocitest.Repo, d) }, true},
		"tag of a stranger": {func(f *ocitest.Fake, d oci.Digest) { stranger.SignTag(t, f, ocitest.Repo, d) }, false},
		"tag of another image": {func(f *ocitest.Fake, d oci.Digest) {
			raw := key.SignTag(t, f, ocitest.Repo, oci.FromBytes(nil))
			tag(t, f, raw, "sha256-"+d.Encoded()+".sig")
		}, false},
		"bundle":               {func(f *ocitest.Fake, d oci.Digest) { key.SignBundle(t, f, ocitest.Repo, d, cosign.SignPredicate) }, true},
		"bundle of a stranger": {func(f *ocitest.Fake, d oci.Digest) { stranger.SignBundle(t, f, ocitest.Repo, d, cosign.SignPredicate) }, false},
		"attestation": {func(f *ocitest.Fake, d oci.Digest) {
			key.SignBundle(t, f, ocitest.Repo, d, "https://slsa.dev/provenance/v1")
		}, false},
		"both": {func(f *ocitest.Fake, d oci.Digest) {
			stranger.SignTag(t, f, ocitest.Repo, d)
			key.SignBundle(t, f, ocitest.Repo, d, cosign.SignPredicate)
		}, true},
		"in another repository": {func(f *ocitest.Fake, d oci.Digest) { key.SignTag(t, f, "other/repo", d) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			fake := new(ocitest.Fake)
			image := someImage(t, fake, name)
			test.sign(fake, image.Digest())
			expect(t, signedBy(t, key), fake, image, "image", test.allowed)
		})
	}
	t.Run("referrers tag", func(t *testing.T) {
		fake := new(ocitest.Fake)
		image := someImage(t, fake, "")
		s := signedBy(t, key)
		index := referrersTag(fake, image.Digest(), key.SignBundle(t, fake, ocitest.Repo, image.Digest(), cosign.SignPredicate), bundle)
		expect(t, s, noReferrers{fake}, image, "image", true)
		expect(t, s, noReferrers{fake}, ocitest.ManifestRef(t, index.String()), "list of referrers", true)
	})
}

// tag gives a manifest another tag.
func tag(t *testing.T, fake *ocitest.Fake, d oci.Digest, name string) {
	t.Helper()
	raw, _, err := ocitest.Read(t.Context(), fake, ocitest.ManifestRef(t, d.String()))
	if err != nil {
		t.Fatal(err)
	}
	fake.AddManifest(ocitest.Repo, name, imageType, raw)
}

// What a signed index names is signed, at any depth. What an unsigned list names is not.
func TestSignedIndex(t *testing.T) {
	key, fake := cosigntest.NewKey(t, "P-256"), new(ocitest.Fake)
	amd64, arm64, alien := someImage(t, fake, "amd64"), someImage(t, fake, "arm64"), someImage(t, fake, "alien")
	inner := indexOf(t, fake, imageType, arm64)
	outer := indexOf(t, fake, imageType, amd64, inner)
	unsigned := indexOf(t, fake, imageType, alien)
	s := signedBy(t, key)
	expect(t, s, fake, amd64, "image before its index", false)
	key.SignBundle(t, fake, ocitest.Repo, outer.Digest(), cosign.SignPredicate)
	for _, step := range []struct {
		ref     oci.Ref
		name    string
		allowed bool
	}{
		{outer, "index", true}, {amd64, "its image", true}, {inner, "index in it", true}, {arm64, "image of that", true},
		{unsigned, "unsigned index", false}, {alien, "its image", false},
	} {
		expect(t, s, fake, step.ref, step.name, step.allowed)
	}
	list := referrersTag(fake, outer.Digest(), alien.Digest(), "application/vnd.example")
	expect(t, s, fake, ocitest.ManifestRef(t, list.String()), "list of referrers", true)
	expect(t, signedBy(t, key), fake, amd64, "image after a restart", false)
}

// Signatures need no signature, and an image that claims to be one is none.
func TestSignedExempts(t *testing.T) {
	key, fake := cosigntest.NewKey(t, "P-256"), new(ocitest.Fake)
	image, s := someImage(t, fake, ""), signedBy(t, key)
	for name, d := range map[string]oci.Digest{
		"bundle":      key.SignBundle(t, fake, ocitest.Repo, image.Digest(), cosign.SignPredicate),
		"attestation": key.SignBundle(t, fake, ocitest.Repo, image.Digest(), "https://slsa.dev/provenance/v1"),
	} {
		expect(t, s, fake, ocitest.ManifestRef(t, d.String()), name, true)
	}
	expect(t, s, fake, artifact(t, fake, "application/vnd.sbom", "{}", "text/spdx+json", ""), "bill of materials", true)
	expect(t, s, fake, artifact(t, fake, configType, "{}", layerType, `"dev.cosignproject.cosign/signature":"x"`), "image", false)
}

// The signatures of cosign 2 have the configuration of an image, and an image may have
// layers that claim to be signatures: only the tag of a signature lets it be pulled.
func TestSignedTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, fake := cosigntest.NewKey(t, "P-256"), new(ocitest.Fake)
		image, s := someImage(t, fake, ""), signedBy(t, key)
		tag := "sha256-" + image.Digest().Encoded() + ".sig"
		signature := ocitest.ManifestRef(t, key.SignTag(t, fake, ocitest.Repo, image.Digest()).String())
		expect(t, s, fake, signature, "by digest, never by tag", false)
		time.Sleep(unsignedLife)
		expectTag(t, s, fake, signature, tag, "by its tag", true)
		expect(t, s, fake, signature, "by digest", true)
		expectTag(t, s, fake, signature, "latest", "by the tag of an image", false)
		expectTag(t, s, fake, signature, tag, "by its tag again", true)
		expectTag(t, s, fake, someImage(t, fake, "x"), tag, "an image by the tag of a signature", false)
		bundle := ocitest.ManifestRef(t, key.SignBundle(t, fake, ocitest.Repo, image.Digest(), cosign.SignPredicate).String())
		expectTag(t, s, fake, bundle, "latest", "a bundle by the tag of an image", false)
	})
}

// That an image is signed is remembered without end, that it is not for 30 s, and that
// it cannot be known not at all.
func TestSignedRemembers(t *testing.T) {
	key := cosigntest.NewKey(t, "P-256")
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		image, s := someImage(t, fake, ""), signedBy(t, key)
		down := func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "down") }
		fake.Fail(func(c ocitest.Call) error {
			if c.Method == "List" {
				return down(c)
			}
			return nil
		})
		if err := s.Check(t.Context(), fake, image, "v1"); !oci.Temporary(err) {
			t.Errorf("without referrers: %v", err)
		}
		fake.Fail(nil)
		expect(t, s, fake, image, "unsigned", false)
		key.SignTag(t, fake, ocitest.Repo, image.Digest())
		fake.Fail(down)
		time.Sleep(unsignedLife - time.Nanosecond)
		expect(t, s, fake, image, "signed since", false)
		fake.Fail(nil)
		time.Sleep(time.Nanosecond)
		expect(t, s, fake, image, "signed", true)
		fake.Fail(down)
		time.Sleep(1000 * time.Hour)
		expect(t, s, fake, image, "upstream down", true)
	})
}

// manifests counts those that are opened.
type manifests struct {
	oci.Registry
	opened int
}

func (m *manifests) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	if ref.Kind() == oci.Manifest {
		m.opened++
	}
	return m.Registry.Open(ctx, ref)
}

// paged is a registry whose list of referrers begins with empty pages.
type paged struct {
	oci.Registry
	empty int
}

func (p *paged) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	if p.empty == 0 {
		return p.Registry.List(ctx, q)
	}
	p.empty--
	return &oci.Page{Index: []byte(`{"manifests":[]}`), Next: fmt.Sprint("page=", p.empty)}, nil
}

// A signature may be on a later page, but not on any.
func TestSignedPages(t *testing.T) {
	key := cosigntest.NewKey(t, "P-256")
	for empty, allowed := range map[int]bool{maxReferrerPages - 1: true, maxReferrerPages: false} {
		fake := new(ocitest.Fake)
		image := someImage(t, fake, "")
		key.SignBundle(t, fake, ocitest.Repo, image.Digest(), cosign.SignPredicate)
		expect(t, signedBy(t, key), &paged{fake, empty}, image, fmt.Sprintf("after %d pages", empty), allowed)
	}
}

// Only what can be nothing but a list of referrers is served without a signature.
func TestSignedLists(t *testing.T) {
	key, fake := cosigntest.NewKey(t, "P-256"), new(ocitest.Fake)
	for entry, allowed := range map[string]bool{
		`{"artifactType":"application/vnd.example"}`:                           true,
		`{"digest":"sha256:1"}`:                                                false,
		`{"artifactType":"application/vnd.example"},{"digest":"sha256:1"}`:     false,
		`{"artifactType":"application/vnd.example","platform":{"os":"linux"}}`: false,
	} {
		d := fake.AddManifest(ocitest.Repo, "", ocispec.MediaTypeImageIndex, []byte(`{"manifests":[`+entry+`]}`))
		expect(t, signedBy(t, key), fake, ocitest.ManifestRef(t, d.String()), entry, allowed)
	}
}

// Whoever can push decides what a repository says; what is read of it is bounded.
func TestSignedBounds(t *testing.T) {
	key, stranger, fake := cosigntest.NewKey(t, "P-256"), cosigntest.NewKey(t, "P-256"), new(ocitest.Fake)
	image := someImage(t, fake, "")
	counted := &manifests{Registry: fake}
	raw, encoded := stranger.Payload(t, image.Digest())
	layer := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"annotations":{%q:%q}}`, cosign.SimpleSigning, fake.AddBlob(ocitest.Repo, raw), cosign.SignatureAnnotation, encoded)
	many := fmt.Sprintf(`{"mediaType":%q,"layers":[%s]}`, imageType, strings.Repeat(layer+",", 10_000)+layer)
	fake.AddManifest(ocitest.Repo, "sha256-"+image.Digest().Encoded()+".sig", imageType, []byte(many))
	for i := range 100 {
		fake.AddManifest(ocitest.Repo, "", imageType, fmt.Appendf(nil, `{"mediaType":%q,"subject":{"digest":%q},"layers":[],"annotations":{"n":"%d"}}`, imageType, image.Digest(), i))
	}
	expect(t, signedBy(t, key), counted, image, "image", false)
	if got := fake.Calls("Open", oci.FromBytes(raw).String()); got != maxSignatures {
		t.Errorf("%d signatures were read, want %d", got, maxSignatures)
	}

	if got := counted.opened; got != maxSignatureManifests+1 {
		t.Errorf("%d manifests were read, want the image and %d", got, maxSignatureManifests)
	}

	for name, blob := range map[string]string{"large": strings.Repeat(" ", cosign.MaxBundle+1), "text": "{", "empty": ""} {
		image := someImage(t, fake, name)
		d := fake.AddBlob(ocitest.Repo, []byte(blob))
		fake.AddManifest(ocitest.Repo, "", imageType, fmt.Appendf(nil, `{"subject":{"digest":%q},"layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":%q},{"mediaType":%q,"digest":"sha256:1"}]}`,
			image.Digest(), d, cosign.SimpleSigning))
		expect(t, signedBy(t, key), fake, image, name, false)
	}
}
