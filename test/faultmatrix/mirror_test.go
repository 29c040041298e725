package faultmatrix

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"testing"

	"mirrord/internal/cache"
	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

const (
	repo      = "library/test"
	tag       = "v1"
	imageType = "application/vnd.oci.image.manifest.v1+json"
	mirrorAt  = "mirror.lan:5000"

	maxSize      = 16 << 20 // of the cache
	manifestSize = 40_000
)

var (
	blob       = ocitest.Content(300_000, 1)
	blobDigest = oci.FromBytes(blob)
)

// mirror is the whole mirror on a network in memory, with a client in front of it and
// a hub as its upstream.
type mirror struct {
	t         *testing.T
	line      *line
	hub       *hubsim.Hub
	transport *upstream.Transport // to the hub
	cache     *cache.Cache
	dir       string
	client    *http.Client
	certs     *certificates       // nil: plain HTTP
	named     oci.Digest          // the digest that the tag names at the hub,
	manifest  []byte              // and its bytes
	made      map[oci.Digest]bool // all content that the hub ever had
}

// newMirror starts everything, until the end of t's bubble. With certificates the hub
// uses TLS.
func newMirror(t *testing.T, certs *certificates) *mirror {
	t.Helper()
	m := &mirror{t: t, line: &line{network: new(hubsim.Network)}, dir: t.TempDir(), certs: certs, made: map[oci.Digest]bool{blobDigest: true}}
	m.startHub()
	m.hub.AddBlob(repo, blob)
	m.publish(manifestSize, "manifest")
	address, err := url.Parse(m.hub.URL())
	check(t, err)
	m.transport = upstream.NewTransport(upstream.TransportOptions{URL: address})
	m.transport.Proxy, m.transport.DialContext = nil, m.line.DialContext
	m.transport.TLSClientConfig = certs.client()
	t.Cleanup(m.transport.CloseIdleConnections)
	up := mirrortest.Upstream(t, oci.DockerHub, m.hub.URL(), m.transport, 10)
	running, _ := mirrortest.Run(t, mirrortest.Options(t, m.dir, maxSize, up))
	m.cache = running.Cache
	m.serve(proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: oci.DockerHub})}))
	return m
}

func (m *mirror) startHub() {
	m.t.Helper()
	port := ":80"
	if m.certs != nil {
		port = ":443"
	}
	hub, err := hubsim.Start(hubsim.Options{
		Addr: registryHost + port, CDNAddr: cdnHost + port, Listen: m.line.network.Listen, TLS: m.certs.server(),
	})
	check(m.t, err)
	hub.Announce(tokenHost+port, cdnHost+port)
	m.t.Cleanup(hub.Close)
	m.hub = hub
}

// publish moves the tag to a manifest of that size and name.
func (m *mirror) publish(size int, name string) { m.publishAs(document(size, name)) }

func (m *mirror) publishAs(raw []byte) {
	m.manifest = raw
	m.named = m.hub.AddManifest(repo, tag, imageType, m.manifest)
	m.made[m.named] = true
}

// document returns a manifest of size bytes that differs by name.
func document(size int, name string) []byte {
	return padded(size, name, fmt.Sprintf(`"mediaType":%q,`, imageType))
}

// padded returns JSON of size bytes with the given members.
func padded(size int, name, members string) []byte {
	head := fmt.Appendf(nil, `{"schemaVersion":2,%s"name":%q,"padding":"`, members, name)
	return append(append(head, bytes.Repeat([]byte(name), size)[:size-len(head)-2]...), `"}`...)
}

// serve serves the mirror to clients.
func (m *mirror) serve(handler http.Handler) {
	m.t.Helper()
	listener, err := m.line.network.Listen(mirrorAt)
	check(m.t, err)
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	m.t.Cleanup(func() { _ = server.Close() })
	m.client = &http.Client{Transport: &http.Transport{
		DialContext: m.line.network.DialContext, DisableKeepAlives: true, DisableCompression: true,
	}}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
