package upstream

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/proxy"
)

// A Fake behind the wire and in front of it again is still a Registry. What is
// temporary for a blob comes out as not found, as the proxy means it.
func TestContract(t *testing.T) {
	t.Parallel()
	ocitest.Run(t, func(t *testing.T, fake *ocitest.Fake) oci.Registry {
		server := httptest.NewServer(proxy.New(proxy.Options{
			Registry:   fake,
			Namespaces: proxy.Namespaces{Default: ocitest.Upstream},
		}))
		t.Cleanup(server.Close)
		u, err := url.Parse(server.URL)
		check(t, err)
		transport := NewTransport(u)
		t.Cleanup(transport.CloseIdleConnections)
		return New(Options{Name: ocitest.Upstream, URL: u, Auth: authn.Anonymous, Transport: transport})
	})
}

func TestRouter(t *testing.T) {
	t.Parallel()
	fake := new(ocitest.Fake)
	router := Router{"known": fake}
	for _, name := range []string{"known", "unknown"} {
		ref, err := oci.ParseManifest(name, "a", "b")
		check(t, err)
		q, err := oci.ParseTags(name, "a", "")
		check(t, err)
		_, err1 := router.Resolve(t.Context(), ref)
		_, err2 := router.Open(t.Context(), ref)
		_, err3 := router.List(t.Context(), q)
		for _, err := range []error{err1, err2, err3} {
			if oci.CodeOf(err) != oci.NameUnknown {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if fake.Calls("Resolve", "b") != 1 || fake.Calls("Open", "b") != 1 || fake.Calls("List", "a") != 1 {
		t.Error("the known upstream was not asked once for each")
	}
}
