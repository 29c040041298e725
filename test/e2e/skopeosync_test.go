//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/admin"
	"mirrord/internal/oci"
)

// A list of skopeo sync selects the tags that skopeo itself does, which asks the mirror for
// them. That of Debian 12 knows no versions.
func TestSkopeoSync(t *testing.T) {
	hub := startHub(t)
	top, err := oci.ParseDigest(publishOne(t, hub, "app", 1).manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	for tag := range strings.FieldsSeq("latest 1 1.2 v1.2.3 1.2.4-rc1 1.3.0 2.0.0-beta 2.0.0 v2.1 2.1.0-alpine 3.19.0_1 01.2.3 20240101 1.2.3.4 V3.0.0") {
		hub.SetTag("library/app", tag, top)
	}
	m := startMirror(t, hub)
	s := newSkopeo(t, newest, m.address)
	for i, selection := range []string{
		`images: {library/app: []}`,
		`images-by-tag-regex: {library/app: '^v?2[.]'}`,
		`images-by-semver: {library/app: '>= 1.2.3, < 2'}`,
		`images-by-semver: {library/app: '>= 1.2.3-0'}`,
		`images-by-semver: {library/app: '^1 || ~2.1'}`,
		`images-by-semver: {library/app: '1.2 - 2.0'}`,
		`images-by-semver: {library/app: 'v2.0.0'}`,
	} {
		file := s.home.write(t, "sync.yaml", m.address+":\n  tls-verify: false\n  "+selection+"\n")
		copied := s.home.path(fmt.Sprintf("copied%d", i))
		s.must(t, "sync", "--src", "yaml", "--dest", "dir", file, copied)
		want := tagsIn(t, copied)
		own := m.home.write(t, "sync.yaml", "docker.io:\n  "+selection+"\n")
		var line admin.WarmLine
		if err := json.Unmarshal([]byte(m.home.must(t, program, "warm", "--admin-listen", m.admin, "--plan", "--json", "-f", own)), &line); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range line.Plan.Entries {
			got = append(got, strings.TrimPrefix(e.Image, "docker.io/library/app:"))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s (-skopeo +mirrord):\n%s", selection, diff)
		}
	}
}

// tagsIn returns the tags of the images that skopeo sync has copied, sorted.
func tagsIn(t *testing.T, dir string) (tags []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tags = append(tags, strings.TrimPrefix(e.Name(), "app:"))
	}
	slices.Sort(tags)
	return tags
}
