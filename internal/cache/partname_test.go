package cache

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/oci"
)

// The name of a part identifies its content, and no other name is mistaken for it.
func FuzzPartName(f *testing.F) {
	hex := strings.Repeat("a", 64)
	for _, name := range []string{
		"sha256-" + hex + ".blob.boot.0.1", "sha256-" + hex + ".manifest..5.", "sha256-" + hex + ".tags.boot.1.1", "sha512-" + hex + hex + ".blob.x.7.y",
		"sha256-" + hex + ".blob.1", "sha256-" + hex + ".blob.boot.-1.1", "sha256-" + hex + ".blob.boot.1.1.1",
		"sha256:" + hex + ".blob.boot.0.1", "sha256-" + hex, "probe1", "../sha256-" + hex + ".blob.boot.0.1", "1",
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
			own := partName{partOf(ref), "boot", int64(len(name))}
			got, ok := parsePart(own.prefix() + name)
			if want := !strings.Contains(name, "."); ok != want || ok && (got != own || got.kind != kind) {
				t.Errorf("a part of %s is parsed as %v, %v", ref, got, ok)
			}
			if got, ok := parsePart(name); ok && (got.digest.Validate() != nil || got.synced < 0 ||
				!strings.Contains(name, got.digest.Encoded()+"."+got.kind.String()+"."+got.boot+".")) {
				t.Errorf("%q is parsed as a part of %v", name, got)
			}
		}
	})
}
