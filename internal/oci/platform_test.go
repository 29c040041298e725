package oci

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPlatform(t *testing.T) {
	for text, of := range map[string]*ocispec.Platform{
		"linux/amd64":    {OS: "linux", Architecture: "amd64"},
		"linux/x86_64":   {OS: "linux", Architecture: "amd64"},
		"Linux/AMD64":    {OS: "linux", Architecture: "amd64"},
		"linux/aarch64":  {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/arm64":    {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"linux/arm64/v8": {OS: "linux", Architecture: "arm64"},
		"linux/arm":      {OS: "linux", Architecture: "arm", Variant: "v7"},
		"linux/arm/v6":   {OS: "linux", Architecture: "arm", Variant: "v6"},
	} {
		parsed, err := ParsePlatform(text)
		if named, ok := PlatformOf(ocispec.Descriptor{Platform: of}); err != nil || !ok || parsed != named {
			t.Errorf("%s: %+v, %v, want %+v", text, parsed, err, named)
		}
	}
	for _, text := range []string{"", "/", "linux", "linux/", "/amd64", "linux/arm/", "a/b/c/d"} {
		if p, err := ParsePlatform(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, p)
		}
	}
	if p, ok := PlatformOf(ocispec.Descriptor{}); ok {
		t.Errorf("a manifest without a platform is for %+v", p)
	}
}
