package warm

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/Masterminds/semver/v3"
)

// maxVersions bounds the text of a range of versions.
const maxVersions = 1024

// parseVersions returns the range that text means, as skopeo sync understands it.
func parseVersions(text string) (*semver.Constraints, error) {
	if len(text) > maxVersions {
		return nil, fmt.Errorf("a range of versions has more than %d bytes", maxVersions)
	}
	return semver.NewConstraint(text)
}

// selection returns which tags i selects; nil when it names one image.
func (i Image) selection() (func(tag string) bool, error) {
	switch {
	case i.Tags != "" && i.Versions != "":
		return nil, errors.New("tags are selected both by an expression and by versions; choose one")
	case i.Tags != "":
		expression, err := regexp.Compile(i.Tags)
		if err != nil {
			return nil, err
		}
		return expression.MatchString, nil
	case i.Versions != "":
		versions, err := parseVersions(i.Versions)
		if err != nil {
			return nil, fmt.Errorf("%.80q: %w", i.Versions, err)
		}
		return func(tag string) bool {
			version, err := semver.NewVersion(tag)
			return err == nil && versions.Check(version)
		}, nil
	}
	return nil, nil
}
