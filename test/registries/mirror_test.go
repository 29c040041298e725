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

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/proxy"
	"mirrord/internal/route"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
	"mirrord/test/mirrortest"
)

// The host names on the network of a test.
const (
	registryAt = "registry.example.com:80"
	otherAt    = "other.example.org:80"
	cdnAt      = "cdn.example.net:80"
	mirrorAt   = "mirror.lan:5000"
)

const (
	public   = "team/app"
	own      = "team/own" // that only user may pull
	private  = "team/private"
	missing  = "team/missing"
	user     = "ann"
	password = "secret"

	maxSize = 16 << 20 // of the cache
)

// mirror is the whole mirror on a network in memory, with a client in front of it and
// a registry behind it.
type mirror struct {
	t       *testing.T
	network *hubsim.Network
	hub     *hubsim.Hub
	repo    string // with the image, as clients name it
	stored  string // its real name
	image   *image
	client  *http.Client

	password string // the file with that of the mirror's login
	at       string // the address that the client asks
}

// newMirror starts everything, until the end of t's bubble; without a password the
// mirror has no login.
func newMirror(t *testing.T, r row, image *image, password string) *mirror {
	t.Helper()
	m := &mirror{t: t, network: new(hubsim.Network), image: image, repo: cmp.Or(r.repo, public), stored: cmp.Or(r.stored, public)}
	m.startHub(r.profile)
	m.fill()
	transport := upstream.NewTransport(upstream.TransportOptions{URL: parse(t, m.hub.URL())})
	transport.Proxy, transport.DialContext = nil, m.network.DialContext
	t.Cleanup(transport.CloseIdleConnections)
	up := mirrortest.Upstream(t, registryAt, m.hub.URL(), transport, 0)
	up.TokenHosts = r.tokenHosts
	if password != "" {
		m.password = filepath.Join(t.TempDir(), "password")
		check(t, os.WriteFile(m.password, []byte(password), 0o600))
		up.Credentials = []stack.Credential{{Name: user, Login: login.File(user, m.password)}}
	}
	running, _ := mirrortest.Run(t, mirrortest.Options(t, t.TempDir(), maxSize, up))
	m.serve(mirrorAt, proxy.New(proxy.Options{Registry: running.Tags, Routes: route.NewTable(route.Upstream{Name: registryAt, Aliases: []string{"corp"}})}))
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

// fill adds the image with five tags and a referrer, and to private repositories.
func (m *mirror) fill() {
	m.image.add(m.hub, m.stored, allTags...)
	m.hub.AddManifest(m.stored, "", imageType, []byte(`{"schemaVersion":2,"subject":{"digest":"`+digestOf(m.image.index)+`"}}`))
	for repo, owner := range map[string]string{own: user, private: "bob"} {
		m.image.add(m.hub, repo, tag)
		m.hub.SetPrivate(repo, owner)
	}
}

// serve serves a mirror to clients, who ask that address from now on.
func (m *mirror) serve(address string, handler http.Handler) {
	m.t.Helper()
	m.at = address
	listener, err := m.network.Listen(address)
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
