package registries

import (
	"cmp"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

// The host names on the network of a test.
const (
	registryAt = "registry.example.com:80"
	otherAt    = "other.example.com:80"
	cdnAt      = "cdn.example.net:80"
	mirrorAt   = "mirror.lan:5000"
)

const (
	public   = "team/app"
	private  = "team/private"
	missing  = "team/missing"
	user     = "ann"
	password = "secret"

	maxSize   = 16 << 20 // of the cache
	layers    = 2
	layerSize = 64 << 10
	blobs     = layers + 1 // of the image, with its configuration
	manifests = 2          // with the index
)

// mirror is the whole mirror on a network in memory, with a client in front of it and
// a registry behind it.
type mirror struct {
	t       *testing.T
	network *hubsim.Network
	hub     *hubsim.Hub
	repo    string // with the image, as clients name it
	stored  string // its real name
	subject v1.Hash
	client  *http.Client
}

// newMirror starts everything, until the end of t's bubble.
func newMirror(t *testing.T, r row) *mirror {
	t.Helper()
	m := &mirror{t: t, network: new(hubsim.Network), repo: cmp.Or(r.repo, public), stored: cmp.Or(r.stored, public)}
	m.startHub(r.profile)
	m.fill()
	transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(t, m.hub.URL())})
	transport.Proxy, transport.DialContext = nil, m.network.DialContext
	t.Cleanup(transport.CloseIdleConnections)
	up := mirrortest.Upstream(t, registryAt, m.hub.URL(), transport, 0)
	if r.login {
		file := filepath.Join(t.TempDir(), "password")
		check(t, os.WriteFile(file, []byte(password), 0o600))
		up.Credentials = []stack.Credential{{Name: user, Login: login.File(user, file)}}
	}
	running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, up))
	m.serve(proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: registryAt})}))
	return m
}

func (m *mirror) startHub(profile string) {
	m.t.Helper()
	p, ok := hubsim.ProfileNamed(profile)
	if !ok {
		m.t.Fatalf("there is no profile %q", profile)
	}
	hub, err := hubsim.Start(hubsim.Options{
		Profile: p, Addr: registryAt, OtherAddr: otherAt, CDNAddr: cdnAt, Listen: m.network.Listen,
		Users: map[string]string{user: password},
	})
	check(m.t, err)
	m.t.Cleanup(hub.Close)
	m.hub = hub
}

// fill adds an image with five tags and a referrer, and a private one.
func (m *mirror) fill() {
	m.t.Helper()
	img, err := hubsim.Layers(layers, layerSize, 1, hubsim.OCI)
	check(m.t, err)
	index, err := hubsim.Index(hubsim.OCI, img)
	check(m.t, err)
	for _, tag := range allTags {
		m.subject, err = m.hub.AddIndex(m.stored, tag, index)
		check(m.t, err)
	}
	m.hub.AddManifest(m.stored, "", imageType, []byte(`{"schemaVersion":2,"subject":{"digest":"`+m.subject.String()+`"}}`))
	_, err = m.hub.AddIndex(private, tag, index)
	check(m.t, err)
	m.hub.SetPrivate(private, "somebody else")
}

// serve serves the mirror to clients.
func (m *mirror) serve(handler http.Handler) {
	m.t.Helper()
	listener, err := m.network.Listen(mirrorAt)
	check(m.t, err)
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	m.t.Cleanup(func() { _ = server.Close() })
	m.client = &http.Client{Transport: &http.Transport{
		DialContext: m.network.DialContext, DisableKeepAlives: true, DisableCompression: true,
	}}
}

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	check(t, err)
	return u
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const imageType = "application/vnd.oci.image.manifest.v1+json"

// digestOf returns the digest of content as clients write it.
func digestOf(content []byte) string { return oci.FromBytes(content).String() }
