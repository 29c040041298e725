package faultmatrix

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/test/mirrortest"
)

// hubs are two registries over TCP, and a mirror of both with the real index, which can
// be restarted.
type hubs struct {
	t         *testing.T
	good, bad *hubsim.Hub
	dir       string
	url       string
	stop      func()
}

const badName = "evil.example"

func newHubs(t *testing.T) *hubs {
	h := &hubs{t: t, dir: t.TempDir(), good: startHub(t), bad: startHub(t)}
	h.start()
	t.Cleanup(func() { h.stop() })
	return h
}

func startHub(t *testing.T) *hubsim.Hub {
	t.Helper()
	hub, err := hubsim.Start(hubsim.Options{})
	check(t, err)
	t.Cleanup(hub.Close)
	return hub
}

func (h *hubs) restart() {
	h.stop()
	h.start()
}

func (h *hubs) start() {
	h.t.Helper()
	ix, err := index.Open(filepath.Join(h.dir, "index"), index.Options{})
	check(h.t, err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	o := mirrortest.Options(h.t, h.dir, maxSize,
		mirrortest.Upstream(h.t, oci.DockerHub, h.good.URL(), transport, 0),
		mirrortest.Upstream(h.t, badName, h.bad.URL(), transport, 0))
	o.Cache.Index, o.Tags.Index = ix, ix
	o.Tags.Fresh = func(oci.Ref) time.Duration { return time.Hour }
	mirror, stop := mirrortest.Run(h.t, o)
	server := httptest.NewServer(proxy.New(proxy.Options{Registry: mirror.Tags, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub}, route.Upstream{Name: badName})}))
	h.url = server.URL
	h.stop = func() {
		server.Close()
		stop()
		check(h.t, ix.Close())
		transport.CloseIdleConnections()
		h.stop = func() {}
	}
}

// described returns how the mirror describes a manifest, the same for HEAD and GET.
func (h *hubs) described(ns, reference string) string {
	h.t.Helper()
	var got [2]string
	for i, method := range []string{http.MethodGet, http.MethodHead} {
		req, err := http.NewRequest(method, h.url+"/v2/"+repo+"/manifests/"+reference+"?ns="+ns, nil)
		check(h.t, err)
		resp, err := http.DefaultClient.Do(req)
		check(h.t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		check(h.t, err)
		_ = resp.Body.Close()
		got[i] = fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Content-Type"), " ", resp.Header.Get("Content-Length"))
	}
	if got[0] != got[1] {
		h.t.Errorf("%s of %s: GET says %s, HEAD %s", reference, ns, got[0], got[1])
	}
	return got[0]
}

func (h *hubs) want(ns, reference, mediaType string, size int) {
	h.t.Helper()
	if got, want := h.described(ns, reference), fmt.Sprint("200 ", mediaType, " ", size); got != want {
		h.t.Errorf("%s of %s: %s, want %s", reference, ns, got, want)
	}
}

// The claims of a HEAD about a tag are in the index, but after a restart the cached
// content is used instead.
func TestHeadsAfterARestart(t *testing.T) {
	t.Parallel()
	h := newHubs(t)
	for name, headers := range map[string]map[string]string{
		"impossible": {"Content-Length": "0", "Content-Type": "application/octet-stream"},
		"possible":   {"Content-Length": "7", "Content-Type": "application/vnd.oci.image.index.v1+json"},
	} {
		raw := document(1000, name)
		h.good.AddManifest(repo, name, imageType, raw)
		h.good.Inject(hubsim.Fault{Op: "manifest-head", Headers: headers, Times: 1})
		h.want(oci.DockerHub, name, imageType, len(raw))
		h.restart()
		h.want(oci.DockerHub, name, imageType, len(raw))
	}
	if n := h.good.Counters(); n.ManifestGETs != 2 || n.ManifestHEADs != 2 {
		t.Errorf("%d GETs, %d HEADs, want one of each for each tag", n.ManifestGETs, n.ManifestHEADs)
	}
}

// An upstream that serves the same bytes with another media type affects only itself,
// at once and after a restart.
func TestPoisonedMediaType(t *testing.T) {
	t.Parallel()
	const indexType, evilType = "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"
	h := newHubs(t)
	for name, test := range map[string]struct{ raw, mine, theirs, seenThere string }{
		"typed":     {`{"mediaType":"` + imageType + `","layers":[]}`, imageType, indexType, imageType},
		"untyped":   {`{"schemaVersion":2,"manifests":[]}`, indexType, imageType, indexType},
		"left open": {`{"schemaVersion":2}`, imageType, evilType, evilType},
	} {
		d := h.good.AddManifest(repo, "", test.mine, []byte(test.raw)).String()
		h.bad.AddManifest(repo, "", test.theirs, []byte(test.raw))
		for range 2 {
			h.want(badName, d, test.seenThere, len(test.raw))
			h.want(oci.DockerHub, d, test.mine, len(test.raw))
			h.restart()
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// A document that two clients could interpret differently is not served.
func TestIndexAndImageAtOnce(t *testing.T) {
	t.Parallel()
	h := newHubs(t)
	d := h.good.AddManifest(repo, tag, imageType, []byte(`{"schemaVersion":2,"mediaType":"`+imageType+`","layers":[],"manifests":[]}`))
	for _, reference := range []string{d.String(), tag} {
		resp, err := http.Get(h.url + "/v2/" + repo + "/manifests/" + reference)
		check(t, err)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s", reference, resp.Status)
		}
	}
}
