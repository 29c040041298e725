package hubsim

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestTagPages(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	for _, tag := range []string{"c", "a", "e", "b", "d"} {
		h.AddManifest(repo, tag, imageType, []byte(`{}`))
	}
	next := func(last string) string {
		return `</v2/` + repo + `/tags/list?last=` + last + `&n=2>; rel="next"`
	}
	c := newClient(t, h)
	for _, page := range []struct{ query, tags, link string }{
		{"", "a b c d e", ""},
		{"?n=2", "a b", next("b")},
		{"?n=2&last=b", "c d", next("d")},
		{"?n=2&last=d", "e", ""},
		{"?n=5", "a b c d e", ""},
		{"?n=0", "", ""},
		{"?last=bb", "c d e", ""},
		{"?last=z", "", ""},
	} {
		answer := c.do("GET", "/v2/"+repo+"/tags/list"+page.query).want(t, 200).wantHeader(t, "Link", page.link)
		var list struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(answer.body, &list); err != nil {
			t.Fatal(err)
		}
		if list.Name != repo || list.Tags == nil || !slices.Equal(list.Tags, strings.Fields(page.tags)) {
			t.Errorf("%q: %s, want %s", page.query, answer.body, page.tags)
		}
	}
	c.do("GET", "/v2/"+repo+"/tags/list?n=x").want(t, 400)
	c.do("GET", "/v2/library/nothing/tags/list").wantCode(t, 404, "NAME_UNKNOWN")
}

func TestReferrers(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	subject := h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	add := func(kind string) string {
		raw := `{"artifactType":"` + kind + `","subject":{"digest":"` + subject.String() + `"}}`
		return h.AddManifest(repo, "", imageType, []byte(raw)).String()
	}
	sbom, signature := add("sbom"), add("signature")
	c := newClient(t, h)
	list := func(query, filters string) []string {
		t.Helper()
		answer := c.do("GET", "/v2/"+repo+"/referrers/"+query).want(t, 200).
			wantHeader(t, "Content-Type", indexType).
			wantHeader(t, "OCI-Filters-Applied", filters)
		var index imgspec.Index
		if err := json.Unmarshal(answer.body, &index); err != nil || index.Manifests == nil {
			t.Fatalf("%s: %v", answer.body, err)
		}
		var found []string
		for _, m := range index.Manifests {
			found = append(found, m.Digest.String())
		}
		return found
	}
	both := []string{sbom, signature}
	slices.Sort(both)
	if got := list(subject.String(), ""); !slices.Equal(got, both) {
		t.Errorf("referrers %v, want %v", got, both)
	}
	if got := list(subject.String()+"?artifactType=sbom", "artifactType"); !slices.Equal(got, []string{sbom}) {
		t.Errorf("referrers of type sbom %v, want %s", got, sbom)
	}
	if got := list(sbom, ""); len(got) != 0 {
		t.Errorf("referrers of a referrer %v, want none", got)
	}
	c.do("GET", "/v2/"+repo+"/referrers/nonsense").wantCode(t, 400, "DIGEST_INVALID")
}
