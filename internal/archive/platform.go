package archive

import (
	"cmp"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// platform is one that an image is for, as people write it: os/architecture, and
// optionally /variant.
type platform struct{ os, architecture, variant string }

// architectures are those that kernels call otherwise than registries do.
var architectures = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}

// variants are those that are meant when none is named.
var variants = map[string]string{"arm64": "v8", "arm": "v7"}

func newPlatform(os, architecture, variant string) platform {
	architecture = cmp.Or(architectures[architecture], architecture)
	return platform{os, architecture, cmp.Or(variant, variants[architecture])}
}

func parsePlatform(text string) (platform, error) {
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return platform{}, fmt.Errorf("%q is not a platform; write for example linux/amd64 or linux/arm/v7", text)
	}
	return newPlatform(parts[0], parts[1], strings.Join(parts[2:], "")), nil
}

// matches reports whether a manifest of an index is for p. One without a platform may be.
func (p platform) matches(m ocispec.Descriptor) bool {
	return m.Platform == nil || newPlatform(m.Platform.OS, m.Platform.Architecture, m.Platform.Variant) == p
}

func platformName(m ocispec.Descriptor) string {
	if m.Platform == nil {
		return "no platform"
	}
	return strings.TrimSuffix(m.Platform.OS+"/"+m.Platform.Architecture+"/"+m.Platform.Variant, "/")
}
