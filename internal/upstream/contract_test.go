package upstream

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
)

// A Fake behind the wire and in front of it again is still a Registry, in whichever way
// its upstream is named. What is temporary for a blob comes out as not found, as the
// proxy means it.
func TestContract(t *testing.T) {
	t.Parallel()
	other := route.Upstream{Name: "other.example"}
	for name, shape := range map[string]struct {
		path, prefix string
		bound        string
		upstreams    []route.Upstream
	}{
		"default":   {upstreams: []route.Upstream{{Name: ocitest.Upstream}, other}},
		"prefix":    {path: "/corp", upstreams: []route.Upstream{other, {Name: ocitest.Upstream, Aliases: []string{"corp"}}}},
		"component": {prefix: "corp/", upstreams: []route.Upstream{other, {Name: ocitest.Upstream, Aliases: []string{"corp"}}}},
		"host":      {upstreams: []route.Upstream{other, {Name: ocitest.Upstream, Hosts: []string{"127.0.0.1"}}}},
		"listener":  {bound: ocitest.Upstream, upstreams: []route.Upstream{other, {Name: ocitest.Upstream}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
				server := httptest.NewServer(proxy.New(proxy.Options{
					Registry: route.Router{ocitest.Upstream: fake}, Routes: route.NewTable(shape.upstreams...), Upstream: shape.bound,
				}))
				t.Cleanup(server.Close)
				u, err := url.Parse(server.URL + shape.path)
				check(t, err)
				transport := NewTransport(TransportOptions{URL: u})
				t.Cleanup(transport.CloseIdleConnections)
				return New(Options{Name: ocitest.Upstream, URL: u, Prefix: shape.prefix, Auth: authn.Anonymous, Transport: transport})
			})
		})
	}
}
