package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pages of tags: n is a number of tags, last is not among them, and only a page before
// others has a Link.
func TestTagPages(t *testing.T) {
	t.Parallel()
	hub, m := newHub(t)
	image := document(imageType, config, layers)
	for _, tag := range []string{"b", "c", "A", "1.0", "_x"} {
		hub.AddManifest(repo, tag, imageType, image)
	}
	for query, want := range map[string]struct{ tags, link string }{
		"":                           {"1.0 A _x b c", ""},
		"?n=5":                       {"1.0 A _x b c", ""},
		"?n=6":                       {"1.0 A _x b c", ""},
		"?n=2147483648":              {"1.0 A _x b c", ""},
		"?n=99999999999999999999999": {"1.0 A _x b c", ""},
		"?n=1":                       {"1.0", "last=1.0&n=1"},
		"?n=4":                       {"1.0 A _x b", "last=b&n=4"},
		"?n=2&last=1.0":              {"A _x", "last=_x&n=2"},
		"?n=2&last=_x":               {"b c", ""},
		"?n=2&last=aa":               {"b c", ""}, // which is not a tag
		"?last=A":                    {"_x b c", ""},
		"?last=c":                    {"", ""},
		"?n=3&last=c":                {"", ""},
		"?n=0":                       {"", ""},
		"?n=0&last=A":                {"", ""},
	} {
		r := m.get("tags/list" + query)
		var list struct {
			Name string
			Tags *[]string // not null
		}
		err := json.Unmarshal(r.body, &list)
		if err != nil || r.StatusCode != http.StatusOK || list.Name != repo || list.Tags == nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s, %v", query, r.Status, r.body, err)
			continue
		}
		link := want.link
		if link != "" {
			link = "</v2/" + repo + "/tags/list?" + link + `>; rel="next"`
		}
		if got := strings.Join(*list.Tags, " "); got != want.tags || r.Header.Get("Link") != link {
			t.Errorf("%s: %q, link %q; want %q, %q", query, got, r.Header.Get("Link"), want.tags, link)
		}
	}
	for _, n := range []string{"-1", "x", "1.5"} {
		m.wantError("tags/list?n="+n, http.StatusBadRequest, "UNSUPPORTED")
	}
	hub.DeleteTag(repo, "A") // a repository without tags is not missing
	hub.AddBlob("team/untagged", nil)
	m.url = strings.Replace(m.url, repo, "team/untagged", 1)
	if r := m.get("tags/list"); string(r.body) != `{"name":"team/untagged","tags":[]}` {
		t.Errorf("no tags: %s %s", r.Status, r.body)
	}
}

// referrer returns a manifest that refers to subject.
func referrer(subject digest.Digest, artifactType string) []byte {
	return document(imageType, fmt.Sprintf(`"artifactType":%q`, artifactType), config, layers,
		fmt.Sprintf(`"subject":{"mediaType":%q,"digest":%q,"size":1}`, imageType, subject))
}

// referrers gets the referrers of a digest: their digests, and the filter that was
// applied.
func (m *mirror) referrers(subject digest.Digest, query string) (digests []string, filter string) {
	m.t.Helper()
	r := m.get("referrers/" + subject.String() + query)
	var index imgspec.Index
	err := json.Unmarshal(r.body, &index)
	if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != indexType || index.SchemaVersion != 2 ||
		index.MediaType != indexType || index.Manifests == nil {
		m.t.Errorf("%s: %s %s, %v", query, r.Status, r.body, err)
	}
	for _, d := range index.Manifests {
		digests = append(digests, d.Digest.String())
	}
	slices.Sort(digests)
	return digests, r.Header.Get("OCI-Filters-Applied")
}

// Referrers are an index, an empty one for a subject that has none or is unknown. They
// are filtered if the registry filters, which the response then says.
func TestReferrers(t *testing.T) {
	t.Parallel()
	hub, m := newHub(t)
	subject := hub.AddManifest(repo, "v1", imageType, document(imageType, config, layers))
	sbom := hub.AddManifest(repo, "", imageType, referrer(subject, "application/sbom")).String()
	signature := hub.AddManifest(repo, "", imageType, referrer(subject, "application/signature")).String()
	pushedFirst := digest.SHA512.FromString("later") // a referrer may be pushed before its subject
	early := hub.AddManifest(repo, "", imageType, referrer(pushedFirst, "application/sbom")).String()
	both := []string{sbom, signature}
	slices.Sort(both)
	for _, test := range []struct {
		subject digest.Digest
		query   string
		want    []string
		filter  string
	}{
		{subject, "", both, ""},
		{subject, "?artifactType=application%2Fsbom", []string{sbom}, "artifactType"},
		{subject, "?artifactType=application%2Fnone", nil, "artifactType"},
		{pushedFirst, "", []string{early}, ""},
		{digest.FromString("unknown"), "", nil, ""},
		{digest.SHA512.FromString("unknown"), "", nil, ""},
	} {
		got, filter := m.referrers(test.subject, test.query)
		if diff := cmp.Diff(test.want, got); diff != "" || filter != test.filter {
			t.Errorf("%s%s: filter %q, want %q\n%s", test.subject, test.query, filter, test.filter, diff)
		}
	}
}

// A registry that does not filter has all referrers in its list, without the header: its
// clients filter. The mirror does not: what such a registry takes for an artifactType
// may be another, and a list that lacks a signature would say that there is none.
func TestReferrersUnfiltered(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	m := newMirror(t, server.URL)
	subject := digest.FromString("subject")
	signature := referrer(subject, "application/signature")
	d := digest.FromBytes(signature).String()
	push(t, http.MethodPut, server.URL+"/v2/"+repo+"/manifests/"+d, imageType, signature)
	for _, query := range []string{"", "?artifactType=application%2Fsignature", "?artifactType=application%2Fother"} {
		if got, filter := m.referrers(subject, query); filter != "" || len(got) != 1 || got[0] != d {
			t.Errorf("%q: %v, filter %q", query, got, filter)
		}
	}
}

// Without a referrers API there is no false list: 404 sends clients to the referrers
// tag, which is served like any other.
func TestReferrersTag(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	m := newMirror(t, server.URL)
	subject := digest.FromString("subject")
	signature := referrer(subject, "application/signature")
	index := indexOf(imageType, signature)
	tag := strings.Replace(subject.String(), ":", "-", 1)
	m.wantError("referrers/"+subject.String(), http.StatusNotFound, "UNSUPPORTED")
	m.wantError("manifests/"+tag, http.StatusNotFound, "MANIFEST_UNKNOWN")
	push(t, http.MethodPut, server.URL+"/v2/"+repo+"/manifests/"+digest.FromBytes(signature).String(), imageType, signature)
	push(t, http.MethodPut, server.URL+"/v2/"+repo+"/manifests/"+tag, indexType, index)
	m.want("manifests/"+tag, index, indexType, digest.FromBytes(index).String())
}
