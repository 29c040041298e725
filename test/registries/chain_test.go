package registries

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

// front puts a mirror in front of the registry at url, and makes m its client.
func (m *mirror) front(address, url, id string) {
	m.t.Helper()
	transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(m.t, url)})
	transport.Proxy, transport.DialContext = nil, m.network.DialContext
	m.t.Cleanup(transport.CloseIdleConnections)
	o := mirrortest.Options(m.t, m.t.TempDir(), maxSize, mirrortest.Upstream(m.t, registryAt, url, transport, 0))
	o.ID = id
	running, _ := mirrortest.Run(m.t, o)
	m.serve(address, proxy.New(proxy.Options{
		Registry: running.Tags, ID: id, Routes: route.NewTable(route.Upstream{Name: registryAt}),
	}))
}

// A mirror behind a mirror is a registry like any other, however the front names the
// upstream, and it passes on why something failed.
func TestMirrorBehindMirror(t *testing.T) {
	for shape, path := range map[string]string{"default": "", "path": "/corp"} {
		t.Run(shape, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, row{profile: "hub"}, newImage(t), "") // at mirrorAt
				m.front("front.lan:5000", "http://"+mirrorAt+path, "mirrord-front")
				if cold, warm := coldPull(m), warmPull(m); cold != "200" || warm != "200" {
					t.Errorf("cold: %s, warm: %s", cold, warm)
				}
				m.hub.AddManifest(m.stored, "other", imageType, m.image.manifest[:len(m.image.manifest)-1])
				limit := m.hub.Inject(hubsim.Fault{Op: "manifest", PullLimit: true})
				r := m.content(m.repo, "manifests/other")
				if r.String() != "503 UNAVAILABLE" && r.String() != "503 TOOMANYREQUESTS" || !strings.Contains(string(r.body), "pull rate limit") {
					t.Errorf("limited: %s: %s", r, r.body)
				}
				limit()
				if r := m.content(m.repo, "manifests/nothing"); r.String() != "404 MANIFEST_UNKNOWN" {
					t.Errorf("missing: %s: %s", r, r.body)
				}
				<-time.After(expiryTime)
				m.hub.Down()
				if r := m.pull(); r.String() != "200 stale" {
					t.Errorf("offline: %s", r)
				}
			})
		})
	}
}

// A mirror that is its own upstream refuses the request that comes back, and asks no
// further.
func TestLoop(t *testing.T) {
	for name, circle := range map[string][]string{
		"itself":          {"a.lan:5000"},
		"another":         {"a.lan:5000", "b.lan:5000"},
		"another, by one": {"a.lan:5000", "b.lan:5000", "c.lan:5000"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t, row{profile: "hub"}, newImage(t), "")
				for i, address := range circle {
					m.front(address, "http://"+circle[(i+1)%len(circle)], fmt.Sprint("mirrord-", i))
				}
				m.at = circle[0]
				begun := time.Now()
				for path, want := range map[string]string{
					"manifests/" + tag:                     "508 UNAVAILABLE",
					"manifests/" + digestOf(m.image.index): "508 UNAVAILABLE",
					"tags/list":                            "508 UNAVAILABLE",
					"blobs/" + digestOf([]byte("x")):       "508 UNAVAILABLE",
					"referrers/" + digestOf([]byte("x")):   "508 UNAVAILABLE",
				} {
					if r := m.content(m.repo, path); r.String() != want || !strings.Contains(string(r.body), "its own upstream") {
						t.Errorf("%s: %s: %s", path, r, r.body)
					}
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("it took %v to refuse", took)
				}
			})
		})
	}
}

// A client that invents mirrors which its request has passed through gets 508, and
// nobody else does: its request changes nothing for others.
func TestForgedVia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, row{profile: "hub"}, newImage(t), "")
		m.front("front.lan:5000", "http://"+mirrorAt, "mirrord-front")
		if r := m.pull(); r.String() != "200" {
			t.Fatalf("%s: %s", r, r.body)
		}
		<-time.After(expiryTime)
		forged := []string{"Via", strings.TrimSuffix(strings.Repeat("1.1 mirrord-x, ", 8), ", ")}
		for _, path := range []string{"manifests/" + allTags[1], "manifests/" + tag, "tags/list"} {
			m.get("/v2/"+m.repo+"/"+path, forged...)
			if r := m.content(m.repo, path); r.String() != "200" {
				t.Errorf("%s after a forged request: %s: %s", path, r, r.body)
			}
		}
	})
}
