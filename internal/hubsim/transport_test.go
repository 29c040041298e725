package hubsim

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// Transport behaves like a network: with a redirected blob, and with one that is cut
// short.
func TestTransport(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	content := []byte("content of a blob")
	d := h.AddBlob(repo, content)
	c := http.Client{Transport: h.Transport()}
	get := func() ([]byte, error) {
		resp, err := c.Get(h.URL() + "/v2/" + repo + "/blobs/" + d.String())
		if err != nil {
			t.Fatal(err)
		}
		return io.ReadAll(resp.Body)
	}
	if raw, err := get(); err != nil || string(raw) != string(content) {
		t.Errorf("%q, %v", raw, err)
	}
	h.Inject(Fault{Op: "cdn", DropAfter: 7, Times: 1})
	if raw, err := get(); err != io.ErrUnexpectedEOF || string(raw) != "content" {
		t.Errorf("%q, %v; want the first 7 bytes", raw, err)
	}
	if n := h.Counters(); n.BlobGETs != 2 || n.CDNGETs != 2 {
		t.Errorf("%+v", n)
	}
}

// There is an image for querying one's limit, and an account can have its own limit.
func TestPreviewAndUserLimits(t *testing.T) {
	h := start(t, Options{Limit: 100, Users: map[string]string{"small": "p", "free": "p"}, UserLimits: map[string]int{"small": 1, "free": 0}})
	for user, want := range map[string]string{"": "100;w=21600", "small": "1;w=21600", "free": ""} {
		token := h.tokens.issue(grant{user: user, scopes: map[scope]bool{{previewRepo, "pull"}: true}}, time.Now())
		for range 2 {
			req, err := http.NewRequest(http.MethodHead, h.URL()+"/v2/"+previewRepo+"/manifests/latest", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
			resp, err := h.Transport().RoundTrip(req)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Ratelimit-Remaining") != want {
				t.Errorf("%q: %v %v, %v", user, resp.Status, resp.Header, err)
			}
		}
	}
}

func TestSetUsers(t *testing.T) {
	h := start(t, Options{Users: map[string]string{"user": "old"}})
	try := func(password string, want int) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, h.URL()+"/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("user", password)
		resp, err := h.Transport().RoundTrip(req)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v", password, resp.Status, err)
		}
	}
	try("old", 200)
	h.SetUsers(map[string]string{"user": "new"})
	try("old", 401)
	try("new", 200)
}
