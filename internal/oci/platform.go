package oci

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platform is one that an image is for. Those that mean the same are equal: arm64 is
// arm64/v8, arm is arm/v7, and x86_64 is amd64.
type Platform struct{ os, architecture, variant string }

// architectures are those that kernels call otherwise than registries do.
var architectures = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}

// variants are those that are meant when none is named.
var variants = map[string]string{"arm64": "v8", "arm": "v7"}

func newPlatform(os, architecture, variant string) Platform {
	architecture = cmp.Or(architectures[architecture], architecture)
	return Platform{os, architecture, cmp.Or(variant, variants[architecture])}
}

// ParsePlatform returns the platform that a person writes as os/architecture, and
// optionally /variant.
func ParsePlatform(text string) (Platform, error) {
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("%.80q is not a platform; write for example linux/amd64 or linux/arm/v7", text)
	}
	return newPlatform(parts[0], parts[1], strings.Join(parts[2:], "")), nil
}

// PlatformOf returns the platform that a manifest of an index is for, and whether the
// index says so.
func PlatformOf(m ocispec.Descriptor) (Platform, bool) {
	if m.Platform == nil {
		return Platform{}, false
	}
	return newPlatform(m.Platform.OS, m.Platform.Architecture, m.Platform.Variant), true
}
