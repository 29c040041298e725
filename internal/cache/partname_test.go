package cache

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// The name of a part tells what it is a part of, and no other name passes for
// one of something else.
func FuzzPartName(f *testing.F) {
	hex := strings.Repeat("a", 64)
	for _, name := range []string{
		"sha256-" + hex + ".blob.1", "sha256-" + hex + ".manifest.", "sha256-" + hex + ".tags.1", "sha512-" + hex + hex + ".blob.x.y",
		"sha256:" + hex + ".blob.1", "sha256-" + hex, "probe1", "../sha256-" + hex + ".blob.1", "",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := digest.FromString(name)
		for kind, parse := range map[oci.Kind]func(upstream, repository, reference string) (oci.Ref, error){oci.Blob: oci.ParseBlob, oci.Manifest: oci.ParseManifest} {
			ref, err := parse(oci.DockerHub, "a", d.String())
			if err != nil {
				t.Fatal(err)
			}
			if key, ok := parsePart(partPrefix(ref) + name); !ok || key != (partKey{d, kind}) {
				t.Errorf("a part of %s is taken for %v, %v", ref, key, ok)
			}
			if key, ok := parsePart(name); ok && (key.digest.Validate() != nil || !strings.Contains(name, key.digest.Encoded()+"."+key.kind.String())) {
				t.Errorf("%q is taken for a part of %v", name, key)
			}
		}
	})
}
