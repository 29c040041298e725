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

// A Fake behind the wire and in front of it again is still a Registry. What is
// temporary for a blob comes out as not found, as the proxy means it.
func TestContract(t *testing.T) {
	t.Parallel()
	ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
		server := httptest.NewServer(proxy.New(proxy.Options{
			Registry: fake,
			Routes:   route.NewTable(route.Upstream{Name: ocitest.Upstream}),
		}))
		t.Cleanup(server.Close)
		u, err := url.Parse(server.URL)
		check(t, err)
		transport := NewTransport(TransportOptions{URL: u})
		t.Cleanup(transport.CloseIdleConnections)
		return New(Options{Name: ocitest.Upstream, URL: u, Auth: authn.Anonymous, Transport: transport})
	})
}
