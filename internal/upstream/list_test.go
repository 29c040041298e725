package upstream

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

func tagsOf(t *testing.T, query string) oci.Listing {
	t.Helper()
	q, err := oci.ParseTags(oci.DockerHub, repo, query)
	check(t, err)
	return q
}

func referrersOf(t *testing.T, subject, query string) oci.Listing {
	t.Helper()
	q, err := oci.ParseReferrers(oci.DockerHub, repo, subject, query)
	check(t, err)
	return q
}

func TestTagPages(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	for _, tag := range []string{"a", "b", "c"} {
		h.AddManifest(repo, tag, imageType, []byte("{}"))
	}
	c := connect(t, h.URL())
	page, err := c.List(t.Context(), tagsOf(t, "n=2"))
	check(t, err)
	if diff := cmp.Diff(&oci.Page{Tags: []string{"a", "b"}, Next: "last=b&n=2", Via: oci.Pass}, page); diff != "" {
		t.Error(diff)
	}
	page, err = c.List(t.Context(), tagsOf(t, page.Next))
	check(t, err)
	if diff := cmp.Diff(&oci.Page{Tags: []string{"c"}, Via: oci.Pass}, page); diff != "" {
		t.Error(diff)
	}
}

// The query of the next page is the upstream's: it comes out and goes back as
// it is.
func TestNextIsOpaque(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		`</v2/x/tags/list?next_page=gAA%2Bb==&n=1>; rel="next"`:       "next_page=gAA%2Bb==&n=1",
		`<https://elsewhere.example/v2/x/tags/list?last=a>; rel=next`: "last=a",
		`</p?a=1>; rel="prev", </n?b=2>; rel="next"`:                  "b=2",
		`</n?b=2>; rel="next", </p?a=1>; rel="prev"`:                  "b=2",
		`</n?b=2>; title="x"; REL="last Next"`:                        "b=2",
		`</n?b=2>; rel="nextish"`:                                     "",
		`</n?b=2>; title="rel=next"`:                                  "",
		`</n?b=2>`:                                                    "",
		`</v2/x/tags/list>; rel="next"`:                               "",
		`<%zz>; rel="next"`:                                           "",
		`nonsense`:                                                    "",
		``:                                                            "",
	} {
		asked := make(chan string, 2)
		c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.RawQuery
			answer(200, `{"tags":["a"]}`, "Content-Type", "application/json", "Link", link)(w, r)
		})).URL)
		page, err := c.List(t.Context(), tagsOf(t, want))
		if err != nil || page.Next != want {
			t.Errorf("link %s: %+v, %v; want %q", link, page, err, want)
		}
		if got := <-asked; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	}
}

func TestBadTagLists(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"html":       answer(200, "<html>"),
		"broken off": answer(200, "{}", "Content-Length", "9"),
		"5xx":        answer(502, ""),
	} {
		c := connect(t, serve(t, openly(handle)).URL)
		_, err := c.List(t.Context(), tagsOf(t, ""))
		if c.wantCode(t, err, oci.Unavailable); t.Failed() {
			t.Fatal(name)
		}
	}
	h := startHub(t, hubsim.Options{NoAuth: true})
	c := connect(t, h.URL())
	_, err := c.List(t.Context(), tagsOf(t, ""))
	c.wantCode(t, err, oci.NameUnknown)
}

func TestReferrers(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	subject := h.AddManifest(repo, "v1", imageType, []byte("{}")).String()
	h.AddManifest(repo, "", imageType, fmt.Appendf(nil, `{"artifactType":"a/b","subject":{"digest":%q}}`, subject))
	c := connect(t, h.URL())
	page, err := c.List(t.Context(), referrersOf(t, subject, ""))
	if err != nil || !strings.Contains(string(page.Index), "a/b") || page.FiltersApplied != "" {
		t.Errorf("%s, %v", page.Index, err)
	}
	page, err = c.List(t.Context(), referrersOf(t, subject, "artifactType=c"))
	if err != nil || strings.Contains(string(page.Index), "a/b") || page.FiltersApplied != "artifactType" {
		t.Errorf("%s, filters %q, %v", page.Index, page.FiltersApplied, err)
	}
}

// ghcr.io has no referrers, and redirects who asks to a page of another host.
// The page of a filter in the registry's place is no such word.
func TestNoReferrersByRedirect(t *testing.T) {
	t.Parallel()
	page := serve(t, answer(404, "<html>Not found", "Content-Type", "text/html"))
	for code, handle := range map[oci.Code]http.HandlerFunc{
		oci.NameUnknown: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, page.URL, http.StatusSeeOther) },
		oci.Unavailable: page.Config.Handler.ServeHTTP,
	} {
		c := connect(t, serve(t, openly(handle)).URL)
		_, err := c.List(t.Context(), referrersOf(t, oci.FromBytes(nil).String(), ""))
		c.wantCode(t, err, code)
	}
}

func TestReferrersAreTheUpstreams(t *testing.T) {
	t.Parallel()
	const index = "{ \"manifests\": [] }\n"
	subject := oci.FromBytes(nil).String()
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		code   oci.Code
	}{
		"index":       {answer(200, index, "Content-Type", ocispec.MediaTypeImageIndex), ""},
		"unsupported": {answer(404, ""), oci.NameUnknown},
		"other type":  {answer(200, index, "Content-Type", "application/json"), oci.Unavailable},
		"no json":     {answer(200, "<html>", "Content-Type", ocispec.MediaTypeImageIndex), oci.Unavailable},
		"5xx":         {answer(500, ""), oci.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(test.handle)).URL)
			page, err := c.List(t.Context(), referrersOf(t, subject, ""))
			if test.code != "" {
				c.wantCode(t, err, test.code)
			} else if err != nil || string(page.Index) != index {
				t.Errorf("%v, %v", page, err)
			}
		})
	}
}
