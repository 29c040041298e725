package warm

import (
	"slices"
	"strings"
	"testing"
)

// Ranges choose the tags that skopeo sync chooses; an e2e test asks skopeo itself.
func TestVersions(t *testing.T) {
	const tags = "latest 1 1.2 v1.2.3 1.2.4-rc1 1.2.4+build 1.3.0 2.0.0-beta 2.0.0 v2.1 2.1.0-alpine 3.19.0_1 01.2.3 sha256-ab 20240101 1.2.3.4"
	for versions, want := range map[string]string{
		"1.2.3":              "v1.2.3 01.2.3",
		">= 1.2.3, < 2":      "v1.2.3 1.2.4+build 1.3.0 01.2.3",
		">= 1.2.3-0, < 2":    "v1.2.3 1.2.4-rc1 1.2.4+build 1.3.0 2.0.0-beta 01.2.3",
		"~1.2":               "1.2 v1.2.3 1.2.4+build 01.2.3",
		"^1":                 "1 1.2 v1.2.3 1.2.4+build 1.3.0 01.2.3",
		"1.x || >= 2.1":      "1 1.2 v1.2.3 1.2.4+build 1.3.0 v2.1 01.2.3 20240101",
		"1.2 - 1.3":          "1.2 v1.2.3 1.2.4+build 1.3.0 01.2.3",
		"!= 1.3.0, >1.2, <3": "2.0.0 v2.1",
		"2.0.0-beta":         "2.0.0-beta",
	} {
		selects, err := Image{Name: "a", Versions: versions}.selection()
		if err != nil {
			t.Errorf("%s: %v", versions, err)
			continue
		}
		got := slices.DeleteFunc(strings.Fields(tags), func(tag string) bool { return !selects(tag) })
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", versions, strings.Join(got, " "), want)
		}
	}
}
