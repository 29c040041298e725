package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// Azure requires another permission for a list of tags than for a pull, and says which.
func TestTagsRequireOtherPermission(t *testing.T) {
	t.Parallel()
	acr, ok := hubsim.ProfileNamed("acr")
	if !ok {
		t.Fatal("there is no such profile")
	}
	h := startHub(t, hubsim.Options{Profile: acr, Users: map[string]string{"ann": "secret"}})
	h.AddManifest(repo, "a", imageType, []byte("{}"))
	h.AddManifest("ann/private", "a", imageType, []byte("{}"))
	h.SetPrivate("ann/private", "bob")
	c := connect(t, h.URL(), "ann", "secret")
	for range 2 {
		page, err := c.List(t.Context(), tagsOf(t, ""))
		check(t, err)
		if diff := cmp.Diff(&oci.Page{Tags: []string{"a"}, Via: oci.Pass}, page); diff != "" {
			t.Error(diff)
		}
	}
	if n := h.Counters(); n.Tokens != 2 || n.TagLists != 2 {
		t.Errorf("%d tokens, %d lists; want 2, 2", n.Tokens, n.TagLists)
	}
	q, err := oci.ParseTags(oci.DockerHub, "ann/private", "")
	check(t, err)
	_, err = c.List(t.Context(), q)
	c.wantCode(t, err, oci.NameUnknown)
}

// A registry may redirect lists to another one, without their query: registry.k8s.io.
func TestTagPagesOfRedirect(t *testing.T) {
	t.Parallel()
	k8s, ok := hubsim.ProfileNamed("k8s")
	if !ok {
		t.Fatal("there is no such profile")
	}
	h := startHub(t, hubsim.Options{Profile: k8s})
	for _, tag := range []string{"a", "b", "c"} {
		h.AddManifest(repo, tag, imageType, []byte("{}"))
	}
	page, err := connect(t, h.URL()).List(t.Context(), tagsOf(t, "n=1&last=a"))
	check(t, err)
	if diff := cmp.Diff(&oci.Page{Tags: []string{"b"}, Next: "last=b&n=1", Via: oci.Pass}, page); diff != "" {
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
		"no list":    answer(200, "{}"),
		"ingress":    answer(404, "default backend - 404"),
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

// Whether a filter was applied is the registry's statement, but only where one was
// asked for.
func TestFiltersApplied(t *testing.T) {
	t.Parallel()
	const index = `{"manifests":[]}`
	for header, want := range map[string]string{"": "", "artifactType": "artifactType"} {
		c := connect(t, serve(t, openly(answer(200, index, "Content-Type", ocispec.MediaTypeImageIndex, "OCI-Filters-Applied", header))).URL)
		for query, want := range map[string]string{"": "", "x=y": "", "artifactType=a%2Fb": want} {
			page, err := c.List(t.Context(), referrersOf(t, oci.FromBytes(nil).String(), query))
			if err != nil || page.FiltersApplied != want {
				t.Errorf("%q sent for %q: %+v, %v; want %q", header, query, page, err, want)
			}
		}
	}
}

// What an upstream answers where it has no referrers API, or does not know the
// subject, lets clients look under the tag; its trouble never does. Only its own
// NAME_UNKNOWN is one.
func TestReferrersResponses(t *testing.T) {
	t.Parallel()
	const index = "{ \"manifests\": [] }\n"
	spec := func(code string) string { return `{"errors":[{"code":"` + code + `"}]}` }
	page := serve(t, answer(200, "<html>Sign in", "Content-Type", "text/html"))
	lost := serve(t, answer(404, "<html>Not found", "Content-Type", "text/html"))
	to := func(s *httptest.Server) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL, http.StatusSeeOther) }
	}
	const indexType = ocispec.MediaTypeImageIndex
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		code   oci.Code // Unsupported: no referrers API; empty: none
	}{
		"index":               {answer(200, index, "Content-Type", indexType), ""},
		"name unknown":        {answer(404, spec("NAME_UNKNOWN")), oci.NameUnknown},
		"no route":            {answer(404, "404 page not found\n"), oci.Unsupported},
		"nothing":             {answer(404, ""), oci.Unsupported},
		"manifest unknown":    {answer(404, spec("MANIFEST_UNKNOWN")), oci.Unsupported},
		"page not found":      {lost.Config.Handler.ServeHTTP, oci.Unsupported},
		"quay, unknown":       {answer(400, spec("MANIFEST_INVALID")), oci.Unsupported},
		"method":              {answer(405, spec("UNSUPPORTED")), oci.Unsupported},
		"not acceptable":      {answer(406, ""), oci.Unsupported},
		"not implemented":     {answer(501, ""), oci.Unsupported},
		"redirect to a page":  {to(page), oci.Unsupported},
		"redirect to nowhere": {to(lost), oci.Unsupported},
		"page":                {page.Config.Handler.ServeHTTP, oci.Unsupported},
		"other type":          {answer(200, index, "Content-Type", "application/json"), oci.Unsupported},
		"denied":              {answer(403, spec("DENIED")), oci.Denied},
		"a filter":            {answer(403, "<html>no", "Content-Type", "text/html"), oci.Unavailable},
		"no json":             {answer(200, "<html>", "Content-Type", indexType), oci.Unavailable},
		"no manifests":        {answer(200, "{}", "Content-Type", indexType), oci.Unavailable},
		"cut":                 {answer(200, index[:10], "Content-Type", indexType), oci.Unavailable},
		"too large":           {answer(200, strings.Repeat(" ", maxList)+index, "Content-Type", indexType), oci.Unavailable},
		"500":                 {answer(500, ""), oci.Unavailable},
		"503":                 {answer(503, spec("UNAVAILABLE")), oci.Unavailable},
		"504":                 {answer(504, "<html>", "Content-Type", "text/html"), oci.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(test.handle)).URL)
			got, err := c.List(t.Context(), referrersOf(t, oci.FromBytes(nil).String(), ""))
			if test.code == "" {
				if err != nil || string(got.Index) != index {
					t.Errorf("%v, %v", got, err)
				}
				return
			}
			c.wantCode(t, err, test.code)
			if none := errors.Is(err, oci.ErrNoReferrers); none != (test.code == oci.Unsupported) {
				t.Errorf("%v: no referrers API: %t", err, none)
			}
		})
	}
}

// What a registry says of the query is the client's to know.
func TestRefusedListQueries(t *testing.T) {
	t.Parallel()
	for status, query := range map[int]string{400: "n=-1", 405: "n=1001"} {
		c := connect(t, serve(t, openly(answer(status, `{"errors":[{"code":"UNSUPPORTED"}]}`))).URL)
		if _, err := c.List(t.Context(), tagsOf(t, query)); !errors.Is(err, oci.ErrParameter) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// All lists that are being read share one bound.
func TestListsShareTheirMemory(t *testing.T) {
	t.Parallel()
	list := `{"tags":["` + strings.Repeat("a", 1<<20) + `"]}`
	c := connect(t, serve(t, openly(answer(200, list))).URL)
	if !c.lists.TryAcquire(listsMemory - 1<<20) {
		t.Fatal("the bound is taken already")
	}
	_, err := c.List(t.Context(), tagsOf(t, ""))
	if c.wantCode(t, err, oci.Unavailable); !errors.Is(err, errListMemory) {
		t.Error(err)
	}
	c.lists.Release(listsMemory - 1<<20)
	if _, err = c.List(t.Context(), tagsOf(t, "")); err != nil {
		t.Error(err)
	}
	if !c.lists.TryAcquire(listsMemory) {
		t.Error("what was read is not given back")
	}
}
