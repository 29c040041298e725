package access

import (
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/cosign/cosigntest"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// Whatever manifests, configurations and lists say, nothing panics, and nothing that is
// an image to a client is taken for signed.
func FuzzRequirements(f *testing.F) {
	key := cosigntest.NewKey(f, "P-256")
	keys := signedBy(f, key)
	for _, seed := range []string{
		`{"config":{"digest":"CONFIG","mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar"}]}`,
		`{"config":null,"layers":[{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"x"}]}`,
		`{"manifests":[{"artifactType":"a","digest":"sha256:1"},null]}`, `{"manifests":null}`, `{"layers":[null]}`, `null`, `[]`,
	} {
		f.Add([]byte(seed), []byte(`{"created":"2999-01-01T00:00:00Z"}`), false)
		f.Add([]byte(seed), []byte(`{"created":7}`), true)
	}
	f.Fuzz(func(t *testing.T, raw, config []byte, index bool) {
		fake := new(ocitest.Fake)
		fake.AddBlob(ocitest.Repo, config)
		mediaType := ocispec.MediaTypeImageManifest
		if index {
			mediaType = ocispec.MediaTypeImageIndex
		}
		ref := ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", mediaType, raw).String())
		fake.AddManifest(ocitest.Repo, "sha256-"+ref.Digest().Encoded()+".sig", mediaType, raw)
		if err := NewAge(time.Hour).Check(t.Context(), fake, ref, ""); err != nil && oci.CodeOf(err) != oci.Denied && !oci.IsUnknown(err) {
			t.Errorf("age: %v", err)
		}
		err := NewSigned(keys.keys).Check(t.Context(), fake, ref, "latest")
		if err == nil || oci.CodeOf(err) != oci.Denied && !oci.IsUnknown(err) {
			t.Errorf("signature: %v", err)
		}
	})
}
