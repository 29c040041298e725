package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mirrord/internal/oci"
)

// A stale page has the headers of a stale manifest.
func TestStaleList(t *testing.T) {
	t.Parallel()
	m := start(t, scripted{list: func(context.Context, oci.Listing) (*oci.Page, error) {
		return &oci.Page{Tags: []string{"a"}, Via: oci.Stale, Reason: oci.StaleUnavailable, Checked: time.Now().Add(-time.Hour)}, nil
	}})
	m.do(http.MethodGet, "/v2/team/app/tags/list").want(t, 200, `{"name":"team/app","tags":["a"]}`).
		wantHeader(t, "X-Mirrord-Cache", "stale", "Age", "3600",
			"Warning", `110 - "Response is Stale"|299 - "mirrord serves a stale copy: its registry is unavailable"`)
}

// A list of no tags is empty and the last page, whatever the upstream sends for n=0,
// which it is not asked for; a repository that does not exist is still not found.
func TestNoTags(t *testing.T) {
	t.Parallel()
	var asked string
	m := start(t, scripted{list: func(_ context.Context, q oci.Listing) (*oci.Page, error) {
		if asked = q.Query(); q.Repository() != "team/app" {
			return nil, oci.Errorf(oci.NameUnknown, "no such repository")
		}
		return &oci.Page{Tags: []string{"a"}, Next: "last=a&n=1", Via: oci.Pass}, nil
	}})
	for _, n := range []string{"0", "00"} {
		m.do(http.MethodGet, "/v2/team/app/tags/list?n="+n).want(t, 200, `{"name":"team/app","tags":[]}`).wantHeader(t, "Link", "")
		if asked != "n=1" {
			t.Errorf("n=%s: the upstream was asked %q", n, asked)
		}
		m.do(http.MethodGet, "/v2/team/other/tags/list?n="+n).wantError(t, 404, oci.NameUnknown)
	}
}

// Large lists that are sent at once are limited together; small ones are not.
func TestListsShareTheirBound(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("a", 20<<20)
	m := start(t, scripted{list: func(_ context.Context, q oci.Listing) (*oci.Page, error) {
		if q.Query() == "" {
			return &oci.Page{Tags: []string{"a"}, Via: oci.Pass}, nil
		}
		return &oci.Page{Tags: []string{large}, Via: oci.Pass}, nil
	}})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.server.URL+"/v2/team/app/tags/list?n=1", nil)
	check(t, err)
	slow, err := m.client.Do(req) // its body is not read: 20 MiB are being sent
	check(t, err)
	m.do(http.MethodGet, "/v2/team/app/tags/list?n=2").wantError(t, 503, oci.Unavailable)
	m.do(http.MethodGet, "/v2/team/app/tags/list").want(t, 200, `{"name":"team/app","tags":["a"]}`)
	_, err = io.Copy(io.Discard, slow.Body)
	check(t, err)
	check(t, slow.Body.Close())
	for range 3 {
		<-m.events // each comes when its request has ended
	}
	if r := m.do(http.MethodGet, "/v2/team/app/tags/list?n=3"); r.StatusCode != http.StatusOK {
		t.Errorf("status %d when the first has been sent", r.StatusCode)
	}
}
