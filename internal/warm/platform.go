package warm

import (
	"fmt"
	"runtime"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

// AllPlatforms stands for all that an index names, attestations included.
const AllPlatforms = "all"

const maxPlatforms = 20

// wanted says which images of an index are fetched. The zero value wants none.
type wanted struct {
	all   bool
	each  []oci.Platform
	names []string
}

// CheckPlatforms returns what is wrong with the platforms of a Job, nil when nothing is.
func CheckPlatforms(names []string) error {
	_, err := parsePlatforms(names)
	return err
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
		p, err := oci.ParsePlatform(name)
		if err != nil {
			return wanted{}, fmt.Errorf("%w; %s stands for each", err, AllPlatforms)
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
			of, named := oci.PlatformOf(d)
			return named && of == p
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
