package private

import (
	"testing"
	"testing/synctest"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// Many registries refuse a HEAD without saying why. That does not make a repository
// public, and a digest is not of a repository by that.
func TestRegistries(t *testing.T) {
	for _, profile := range hubsim.Profiles() {
		if profile.Auth.Open {
			continue // everything is public
		}
		t.Run(profile.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, reference := range []string{"v1", oci.FromBytes(image).String()} {
					w := newWorldLike(t, profile)
					w.addSecret()
					w.withheld(w.bob(), manifest(t, corp, secretRepo, reference), oci.Denied, oci.NameUnknown, oci.ManifestUnknown)
					w.served(w.alice(), manifest(t, corp, secretRepo, reference), image)
					w.served(w.alice(), blob(t, corp, secretRepo, layer), layer)
					w.withheld(w.bob(), manifest(t, corp, secretRepo, reference), oci.Denied, oci.NameUnknown, oci.ManifestUnknown)
					w.withheld(w.bob(), manifest(t, corp, publicRepo, oci.FromBytes(image).String()), oci.ManifestUnknown, oci.NameUnknown, oci.Denied)
					w.withheld(w.bob(), blob(t, corp, publicRepo, layer), oci.BlobUnknown, oci.NameUnknown, oci.Denied)
				}
			})
		})
	}
}
