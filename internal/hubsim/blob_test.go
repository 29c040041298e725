package hubsim

import (
	"bytes"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestBlobRedirectsToCDN(t *testing.T) {
	h := start(t, Options{})
	content := []byte("0123456789")
	d := h.AddBlob(repo, content).String()
	c := newClient(t, h).login("", "", pull(repo))
	path := "/v2/" + repo + "/blobs/" + d

	head := c.do("HEAD", path).want(t, 200).wantHeader(t, "Docker-Content-Digest", d)
	if head.ContentLength != 10 {
		t.Errorf("HEAD: length %d, want 10", head.ContentLength)
	}
	moved := c.do("GET", path).want(t, 307).
		wantHeader(t, "Content-Type", "application/octet-stream").
		wantHeader(t, "Content-Length", "0")
	link := moved.Header.Get("Location")
	if strings.HasPrefix(link, h.URL()) || !strings.Contains(link, "/registry-v2/docker/registry/v2/blobs/sha256/"+d[7:9]+"/"+d[7:]+"/data?") {
		t.Errorf("location %q", link)
	}
	if answer := c.do("GET", link).want(t, 200); !bytes.Equal(answer.body, content) || answer.ContentLength != 10 {
		t.Errorf("body %q of length %d", answer.body, answer.ContentLength)
	}
	part := c.do("GET", link, header("Range", "bytes=4-")).want(t, 206).wantHeader(t, "Content-Range", "bytes 4-9/10")
	if string(part.body) != "456789" {
		t.Errorf("range %q", part.body)
	}
	n := h.Counters()
	if n.BlobGETs != 1 || n.BlobHEADs != 1 || n.CDNGETs != 2 || n.CDNBytes != 16 || n.RangeGETs != 1 || n.BlobGETsByDigest[d] != 1 {
		t.Errorf("counted %+v", n)
	}
}

func TestAnnouncedAddresses(t *testing.T) {
	h := start(t, Options{})
	d := h.AddBlob(repo, []byte("content")).String()
	_, cdn := h.Addresses()
	h.Announce("registry.test:1", "cdn.test:2")
	c := newClient(t, h)
	c.do("GET", "/v2/").want(t, 401).
		wantHeader(t, "Www-Authenticate", `Bearer realm="http://registry.test:1/token",service="registry.docker.io"`)
	rest, ok := strings.CutPrefix(c.login("", "", pull(repo)).blobLink(d), "http://cdn.test:2/")
	if !ok {
		t.Fatalf("the redirect does not lead to the announced CDN but to %q", rest)
	}
	c.do("GET", "http://"+cdn+"/"+rest).want(t, 200)
}

func TestCDNRejects(t *testing.T) {
	h := start(t, Options{})
	d := h.AddBlob(repo, []byte("content"))
	c := newClient(t, h).login("", "", pull(repo))
	link := c.blobLink(d.String())
	c.do("GET", link, header("Authorization", "Bearer "+c.token)).want(t, 400)
	c.do("HEAD", link).want(t, 403)
	c.do("GET", strings.Replace(link, "expires=1", "expires=2", 1)).want(t, 403)
	c.do("GET", h.link("GET", d, time.Now().Add(-time.Second))).want(t, 403)
	if n := h.Counters(); n.CDNAuthorization != 1 || n.CDNForbidden != 3 || n.CDNBytes != 0 {
		t.Errorf("counted %+v", n)
	}
	c.do("GET", "/v2/"+repo+"/blobs/sha256:"+strings.Repeat("0", 64)).wantCode(t, 404, "BLOB_UNKNOWN")
}

func TestLinkExpires(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	d := h.AddBlob(repo, []byte("content"))
	synctest.Test(t, func(t *testing.T) {
		link := ask(h, "GET", "/v2/"+repo+"/blobs/"+d.String(), "").Header().Get("Location")
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {20*time.Minute - 1, 200}, {1, 403}} {
			<-time.After(step.wait)
			w := httptest.NewRecorder()
			h.serveCDN(w, httptest.NewRequest("GET", link, nil))
			if w.Code != step.want {
				t.Errorf("after another %v: status %d, want %d", step.wait, w.Code, step.want)
			}
		}
	})
}

func TestDirectAndNoLength(t *testing.T) {
	h := start(t, Options{Direct: true, NoLength: true, NoAuth: true})
	d := h.AddBlob(repo, []byte("content")).String()
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	c := newClient(t, h)
	for path, body := range map[string]string{"blobs/" + d: "content", "manifests/latest": "{}"} {
		answer := c.do("GET", "/v2/"+repo+"/"+path).want(t, 200)
		if answer.ContentLength != -1 || string(answer.body) != body || answer.err != nil {
			t.Errorf("%s: length %d, body %q, error %v", path, answer.ContentLength, answer.body, answer.err)
		}
	}
	if n := h.Counters(); n.CDNGETs != 0 || n.CDNBytes != 7 || n.BlobGETsByDigest[d] != 1 {
		t.Errorf("counted %+v", n)
	}
}

func TestLargeBlobIsOnDisk(t *testing.T) {
	h := start(t, Options{})
	const size = 3<<20 + 17
	d, err := h.AddBlobFrom(repo, size, 7)
	if err != nil {
		t.Fatal(err)
	}
	again, err := h.AddBlobFrom(repo, size, 7)
	if err != nil || again != d {
		t.Fatalf("same seed: %s (%v), want %s", again, err, d)
	}
	c := newClient(t, h).login("", "", pull(repo))
	answer := c.do("GET", c.blobLink(d.String())).want(t, 200)
	if got := digest.FromBytes(answer.body); got != d {
		t.Errorf("body is %s, want %s", got, d)
	}
	if n := h.Counters(); n.CDNBytes != size {
		t.Errorf("counted %d bytes, want %d", n.CDNBytes, size)
	}
	dir := h.store.dir
	h.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory after Close: %v", err)
	}
}
