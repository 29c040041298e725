package doctor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

// addLayer adds an image to hub and returns a layer of it.
func addLayer(t *testing.T, hub *hubsim.Hub) oci.Ref {
	t.Helper()
	image, err := hubsim.Layers(1, 200_000, 1, hubsim.OCI)
	check(t, err)
	_, err = hub.AddImage("library/app", "v1", image)
	check(t, err)
	layers, err := image.Layers()
	check(t, err)
	digest, err := layers[0].Digest()
	check(t, err)
	blob, err := oci.ParseBlob(oci.DockerHub, "library/app", digest.String())
	check(t, err)
	return blob
}

// The beginning of a layer is enough, and costs no pull.
func TestDownload(t *testing.T) {
	hub := startHub(t, hubsim.Options{Limit: 100})
	u := connect(t, hub.URL(), login.Anonymous())
	u.Blob = addLayer(t, hub)
	want(t, u.check(t.Context()), "download", OK, "16384 bytes of the beginning of a layer of docker.io/library/app")
	if n := hub.Counters(); n.ManifestGETs != 0 || n.CDNBytes != LeastBlob {
		t.Errorf("%+v", n)
	}
	remove := hub.Inject(hubsim.Fault{Op: "blob", Status: 404, Body: `{"errors":[{"code":"BLOB_UNKNOWN"}]}`, ContentType: "application/json"})
	want(t, u.check(t.Context()), "download", Info, "not checked")
	remove()
	const xml = `<?xml version="1.0"?><Error><Code>BlobNotFound</Code></Error>`
	for status, state := range map[int]State{404: Info, 403: Info, 500: Fail} {
		for _, op := range []string{"blob", "cdn"} {
			remove = hub.Inject(hubsim.Fault{Op: op, Status: status, Body: xml, ContentType: "application/xml"})
			want(t, u.check(t.Context()), "download", state, fmt.Sprint(" responded with ", status))
			remove()
		}
	}
	registry, _ := hub.Addresses()
	hub.Announce(registry, "127.0.0.1:1")
	want(t, u.check(t.Context()), "download", Fail, "from 127.0.0.1:1: ")
}

// Without a layer, Docker Hub has a long list of tags, and other registries have nothing.
func TestDownloadOfTags(t *testing.T) {
	hub := startHub(t, hubsim.Options{Limit: 100})
	image, err := hubsim.Layers(1, 100, 1, hubsim.OCI)
	check(t, err)
	_, err = hub.AddImage(tagsOfHub, "latest", image)
	check(t, err)
	want(t, connect(t, hub.URL(), login.Anonymous()).check(t.Context()), "download", Info, "not a full-size packet")
	remove := hub.Inject(hubsim.Fault{Op: "tags", Status: 404, Body: `<Error><Code>BlobNotFound</Code></Error>`, ContentType: "application/xml"})
	want(t, connect(t, hub.URL(), login.Anonymous()).check(t.Context()), "download", Info, "not checked")
	remove()
	for i := range 200 {
		_, err := hub.AddImage(tagsOfHub, fmt.Sprint("1.36.", i), image)
		check(t, err)
	}
	want(t, connect(t, hub.URL(), login.Anonymous()).check(t.Context()), "download", OK, "the list of tags of docker.io/library/busybox arrived")
	if n := hub.Counters().ManifestGETs; n != 0 {
		t.Errorf("%d pulls", n)
	}
}

// A body that stalls while all small responses arrive, wherever it stalls.
func TestStall(t *testing.T) {
	for name, fault := range map[string]hubsim.Fault{
		"header":         {Op: "cdn", StallAfter: -1},
		"first packets":  {Op: "cdn", StallAfter: 1400},
		"not the header": {Op: "cdn", Latency: 1 << 62},
		"list":           {Op: "tags", StallAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := new(hubsim.Network)
				hub := startHub(t, hubsim.Options{Listen: network.Listen, Addr: "hub.example:80", CDNAddr: "cdn.hub.example:80"})
				u := connectBy(t, network, hub.URL(), login.Anonymous())
				layer := addLayer(t, hub)
				if fault.Op == "cdn" {
					u.Blob = layer
				} else {
					image, err := hubsim.Layers(1, 100, 1, hubsim.OCI)
					check(t, err)
					_, err = hub.AddImage(tagsOfHub, "v1", image)
					check(t, err)
				}
				hub.Inject(fault)
				all := u.check(t.Context())
				want(t, all, "download", Warn, "mtu 1400")
				want(t, all, "login", OK, "accepted")
			})
		})
	}
}

// Storage that a firewall drops connections to is named, and is not a matter of sizes.
func TestBlockedStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(hubsim.Network)
		hub := startHub(t, hubsim.Options{Listen: network.Listen, Addr: "hub.example:80", CDNAddr: "cdn.hub.example:80"})
		at, err := url.Parse(hub.URL())
		check(t, err)
		transport := upstream.NewTransport(upstream.TransportOptions{URL: at})
		defer transport.CloseIdleConnections()
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, kind, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "cdn.") {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return network.DialContext(ctx, kind, address)
		}
		u := connectOver(t, transport, at, login.Anonymous())
		u.Blob = addLayer(t, hub)
		all := u.check(t.Context())
		want(t, all, "download", Fail, "from cdn.hub.example:80")
		want(t, all, "download", Fail, "no connection")
	})
}
