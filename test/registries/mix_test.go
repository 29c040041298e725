package registries

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

const (
	oneAt = "one.example.com:80"
	twoAt = "two.example.com:80"
)

// pair is a mirror of two registries, which the client names in the path.
type pair struct {
	*mirror
	hubs map[string]*hubsim.Hub // by name, which is the address
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{mirror: &mirror{t: t, network: new(hubsim.Network)}, hubs: make(map[string]*hubsim.Hub)}
	o := mirrortest.Options(t, t.TempDir(), maxSize)
	var routes []route.Upstream
	for _, name := range []string{oneAt, twoAt} {
		hub, err := hubsim.Start(hubsim.Options{Addr: name, CDNAddr: "cdn." + name, Listen: p.network.Listen})
		check(t, err)
		t.Cleanup(hub.Close)
		p.hubs[name] = hub
		transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(t, hub.URL())})
		transport.Proxy, transport.DialContext = nil, p.network.DialContext
		t.Cleanup(transport.CloseIdleConnections)
		o.Upstreams = append(o.Upstreams, mirrortest.Upstream(t, name, hub.URL(), transport, 0))
		routes = append(routes, route.Upstream{Name: name})
	}
	running, _ := mirrortest.Run(t, o)
	p.serve(mirrorAt, proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(routes...)}))
	return p
}

// from gets what a registry has at a path.
func (p *pair) from(name, path string) response {
	p.t.Helper()
	return p.get("/v2/" + name + "/" + public + "/" + path)
}

// The same repository and tag of two registries never mix: not the manifests, nor what
// is missing, nor lists, nor media types that are not in the bytes, nor stale copies.
func TestUpstreamsNeverMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		const untyped = `{"schemaVersion":2,"n":1}`
		for name, hub := range p.hubs {
			hub.AddManifest(public, tag, imageType, []byte(`{"schemaVersion":2,"mediaType":"`+imageType+`","of":"`+name+`"}`))
			hub.AddManifest(public, "untyped", map[string]string{oneAt: imageType, twoAt: indexType}[name], []byte(untyped))
			hub.AddManifest(public, "only-"+name[:3], imageType, []byte(`{"schemaVersion":2,"only":"`+name+`"}`))
		}
		blob := []byte("only in one of them")
		digest := p.hubs[oneAt].AddBlob(public, blob).String()
		for range 2 { // cold, and warm
			for name, other := range map[string]string{oneAt: twoAt, twoAt: oneAt} {
				if r := p.from(name, "manifests/"+tag); string(r.body) != `{"schemaVersion":2,"mediaType":"`+imageType+`","of":"`+name+`"}` {
					t.Errorf("%s: %s: %s", name, r, r.body)
				}
				want := map[string]string{oneAt: imageType, twoAt: indexType}[name]
				if r := p.from(name, "manifests/untyped"); string(r.body) != untyped || r.Header.Get("Content-Type") != want {
					t.Errorf("%s: %s %s: %s", name, r, r.Header.Get("Content-Type"), r.body)
				}
				if r := p.from(name, "manifests/only-"+other[:3]); r.StatusCode != http.StatusNotFound {
					t.Errorf("%s: what only %s has: %s", name, other, r)
				}
				if r := p.from(other, "manifests/only-"+other[:3]); r.StatusCode != http.StatusOK {
					t.Errorf("%s: what it alone has: %s: %s", other, r, r.body)
				}
				if r := p.from(name, "tags/list"); string(r.body) != `{"name":"`+name+"/"+public+`","tags":["only-`+name[:3]+`","untyped","v1"]}` {
					t.Errorf("%s: %s", name, r.body)
				}
			}
			if r := p.from(oneAt, "blobs/"+digest); string(r.body) != string(blob) {
				t.Errorf("blob: %s: %s", r, r.body)
			}
		}
		p.hubs[oneAt].Down()
		<-time.After(expiryTime)
		if r := p.from(oneAt, "manifests/"+tag); r.String() != "200 stale" {
			t.Errorf("offline: %s", r)
		}
		if r := p.from(twoAt, "manifests/"+tag); r.String() != "200" {
			t.Errorf("the other one: %s", r)
		}
	})
}

// A fallback serves while the registry is down, and is not asked while it is up. What it
// says of a tag never replaces what the registry has said.
func TestFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		for name, hub := range p.hubs {
			hub.AddManifest(public, tag, imageType, []byte(`{"schemaVersion":2,"of":"`+name+`"}`))
			hub.AddManifest(public, "later", imageType, []byte(`{"schemaVersion":2,"later":true}`))
		}
		transport := func(name string) *upstream.Transport {
			transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(t, p.hubs[name].URL())})
			transport.Proxy, transport.DialContext = nil, p.network.DialContext
			t.Cleanup(transport.CloseIdleConnections)
			return transport
		}
		up := mirrortest.Upstream(t, oneAt, p.hubs[oneAt].URL(), transport(oneAt), 0)
		up.Fallbacks = []stack.Fallback{{
			URL: parse(t, p.hubs[twoAt].URL()), Transport: transport(twoAt),
			Credentials: []stack.Credential{{Name: "fallback", Login: login.Anonymous()}},
		}}
		running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, up))
		p.serve("fallback.lan:5000", proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: oneAt})}))
		if r := p.from(oneAt, "manifests/"+tag); r.String() != "200" || p.hubs[twoAt].Counters().Requests > 0 {
			t.Errorf("the registry is up: %s, and the fallback had %d requests", r, p.hubs[twoAt].Counters().Requests)
		}
		p.hubs[oneAt].Down()
		if r := p.from(oneAt, "manifests/later"); r.String() != "200" {
			t.Errorf("the registry is down: %s: %s", r, r.body)
		}
		if r := p.from(oneAt, "manifests/later"); r.String() != "200 stale" {
			t.Errorf("a tag of the fallback is never fresh: %s: %s", r, r.body)
		}
		<-time.After(expiryTime)
		if r := p.from(oneAt, "manifests/"+tag); r.String() != "200 stale" || !strings.Contains(string(r.body), oneAt) {
			t.Errorf("the registry's own stale copy is older, but its own: %s: %s", r, r.body)
		}
		if r := p.from(oneAt, "manifests/never"); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("what the fallback lacks: %s: %s", r, r.body)
		}
	})
}
