package hubsim

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestManifestHeaders(t *testing.T) {
	h := start(t, Options{})
	raw := []byte(`{"mediaType":"` + indexType + `"}`)
	d := h.AddManifest(repo, "latest", indexType, raw).String()
	c := newClient(t, h).login("", "", pull(repo))
	for _, reference := range []string{"latest", d} {
		for _, method := range []string{"GET", "HEAD"} {
			answer := c.do(method, "/v2/"+repo+"/manifests/"+reference, header("Accept", imageType+", "+indexType)).want(t, 200).
				wantHeader(t, "Content-Type", indexType).
				wantHeader(t, "Docker-Content-Digest", d).
				wantHeader(t, "Etag", `"`+d+`"`).
				wantHeader(t, "Docker-Distribution-Api-Version", "registry/2.0").
				wantHeader(t, "Ratelimit-Limit", "")
			if answer.ContentLength != int64(len(raw)) {
				t.Errorf("%s %s: length %d, want %d", method, reference, answer.ContentLength, len(raw))
			}
			if method == "GET" && string(answer.body) != string(raw) {
				t.Errorf("GET %s: body %q", reference, answer.body)
			}
		}
	}
	if n := h.Counters(); n.ManifestGETs != 2 || n.ManifestHEADs != 2 || n.ManifestGETsByDigest[d] != 2 {
		t.Errorf("counted %+v", n)
	}
}

func TestManifestUnknown(t *testing.T) {
	h := start(t, Options{})
	d := h.AddManifest(repo, "latest", indexType, []byte(`{}`)).String()
	c := newClient(t, h).login("", "", pull(repo))
	c.do("GET", "/v2/"+repo+"/manifests/none").wantCode(t, 404, "MANIFEST_UNKNOWN")
	c.do("GET", "/v2/"+repo+"/manifests/sha256:"+strings.Repeat("0", 64)).wantCode(t, 404, "MANIFEST_UNKNOWN")
	answer := c.do("GET", "/v2/"+repo+"/manifests/"+d, header("Accept", imageType)).wantCode(t, 404, "MANIFEST_UNKNOWN")
	if want := "OCI index found, but accept header does not support OCI indexes"; !strings.Contains(string(answer.body), want) {
		t.Errorf("body %q, want %q", answer.body, want)
	}
	h.DeleteTag(repo, "latest")
	c.do("HEAD", "/v2/"+repo+"/manifests/latest").want(t, 404)
	c.do("GET", "/v2/"+repo+"/manifests/"+d).want(t, 200)
}

func TestSetTagMovesATag(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	h.AddManifest(repo, "latest", imageType, []byte(`{"a":1}`))
	d := h.AddManifest(repo, "", imageType, []byte(`{"a":2}`))
	h.SetTag(repo, "latest", d)
	newClient(t, h).do("HEAD", "/v2/"+repo+"/manifests/latest").want(t, 200).
		wantHeader(t, "Docker-Content-Digest", d.String())
}

// A HEAD is free, and works when nothing is left for a GET.
func TestQuota(t *testing.T) {
	h := start(t, Options{Limit: 2, Window: time.Hour, Users: map[string]string{"ann": "secret"}})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	path := "/v2/" + repo + "/manifests/latest"
	c := newClient(t, h).login("", "", pull(repo))
	for _, step := range []struct {
		method    string
		status    int
		remaining string
	}{
		{"HEAD", 200, "2;w=3600"}, {"GET", 200, "1;w=3600"}, {"GET", 200, "0;w=3600"},
		{"GET", 429, "0;w=3600"}, {"HEAD", 200, "0;w=3600"},
	} {
		c.do(step.method, path).want(t, step.status).
			wantHeader(t, "Ratelimit-Limit", "2;w=3600").
			wantHeader(t, "Ratelimit-Remaining", step.remaining).
			wantHeader(t, "Docker-Ratelimit-Source", "127.0.0.1")
	}
	c.do("GET", path).wantCode(t, 429, "TOOMANYREQUESTS").wantHeader(t, "Retry-After", "")
	newClient(t, h).login("ann", "secret", pull(repo)).do("GET", path).want(t, 200).
		wantHeader(t, "Ratelimit-Remaining", "1;w=3600").
		wantHeader(t, "Docker-Ratelimit-Source", "ann")
	if n := h.Counters(); n.ManifestGETs != 3 || n.ManifestHEADs != 2 || n.Refused != 2 {
		t.Errorf("counted %+v", n)
	}
}

func TestQuotaWindowRollsOver(t *testing.T) {
	h := start(t, Options{Limit: 1, NoAuth: true})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	synctest.Test(t, func(t *testing.T) {
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 200}, {0, 429}, {6*time.Hour - 1, 429}, {1, 200}, {0, 429}} {
			<-time.After(step.wait)
			if got := ask(h, "GET", "/v2/"+repo+"/manifests/latest", "").Code; got != step.want {
				t.Errorf("after another %v: status %d, want %d", step.wait, got, step.want)
			}
		}
	})
}
