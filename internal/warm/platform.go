package warm

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AllPlatforms stands for all that an index names, attestations included.
const AllPlatforms = "all"

const maxPlatforms = 20

// Platform is one that an image is for.
type Platform struct{ os, architecture, variant string }

// variants are those that are meant when none is named.
var variants = map[string]string{"arm64": "v8", "arm": "v7"}

func newPlatform(os, architecture, variant string) Platform {
	return Platform{os, architecture, cmp.Or(variant, variants[architecture])}
}

// ParsePlatform returns the platform of a name such as linux/arm64 or linux/arm/v7.
func ParsePlatform(name string) (Platform, error) {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("%.80q is not a platform; write for example linux/amd64, linux/arm/v7, or %s", name, AllPlatforms)
	}
	return newPlatform(parts[0], parts[1], strings.Join(parts[2:], "")), nil
}

// wanted says which images of an index are fetched. The zero value wants none.
type wanted struct {
	all   bool
	each  []Platform
	names []string
}

// parsePlatforms returns what is wanted: the platform of this host if there are no names.
func parsePlatforms(names []string) (wanted, error) {
	if len(names) == 0 {
		names = []string{"linux/" + runtime.GOARCH}
	}
	if len(names) > maxPlatforms {
		return wanted{}, fmt.Errorf("more than %d platforms; write %s", maxPlatforms, AllPlatforms)
	}
	if slices.Contains(names, AllPlatforms) {
		return wanted{all: true}, nil
	}
	w := wanted{names: names}
	for _, name := range names {
		p, err := ParsePlatform(name)
		if err != nil {
			return wanted{}, err
		}
		w.each = append(w.each, p)
	}
	return w, nil
}

// choose returns the images of an index that are wanted. It fails when there is none for
// a platform.
func (w wanted) choose(all []ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if w.all {
		return all, nil
	}
	var chosen []ocispec.Descriptor
	for i, p := range w.each {
		found := slices.IndexFunc(all, func(d ocispec.Descriptor) bool {
			return d.Platform != nil && newPlatform(d.Platform.OS, d.Platform.Architecture, d.Platform.Variant) == p
		})
		if found < 0 {
			return nil, fmt.Errorf("has no image for %s", w.names[i])
		}
		chosen = append(chosen, all[found])
	}
	return chosen, nil
}

// atLeast is how many images of an index that is not known are wanted, at the least.
func (w wanted) atLeast() int { return max(1, len(w.each)) }
