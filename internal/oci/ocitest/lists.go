package ocitest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
)

func testTags(t *testing.T, fake *Fake, r oci.Registry) {
	for _, tag := range []string{"c", "a", "e", "b", "d"} {
		fake.AddManifest(Repo, tag, ocispec.MediaTypeImageManifest, []byte("{}"))
	}
	var got [][]string
	query := "n=2"
	for range 5 {
		q, err := oci.ParseTags(Upstream, Repo, query)
		if err != nil {
			t.Fatal(err)
		}
		page, err := r.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Tags)
		if query = page.Next; query == "" {
			break
		}
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c", "d"}, {"e"}}, got); diff != "" {
		t.Error(diff)
	}
}

func testReferrers(t *testing.T, fake *Fake, r oci.Registry) {
	subject := fake.AddManifest(Repo, "v1", ocispec.MediaTypeImageManifest, []byte("{}"))
	refers := fake.AddManifest(Repo, "", ocispec.MediaTypeImageManifest, fmt.Appendf(nil, `{"subject":{"digest":%q}}`, subject))
	q, err := oci.ParseReferrers(Upstream, Repo, subject.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.List(t.Context(), q)
	if err != nil || !strings.Contains(string(page.Index), refers.String()) {
		t.Errorf("%v, %v", page, err)
	}
}
