package hubsim

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options configure a Hub. The zero value is Docker Hub without a limit on pulls.
type Options struct {
	// Addr is the address of the registry and its token service, CDNAddr that
	// of the CDN; empty means a free port of 127.0.0.1.
	Addr, CDNAddr string
	// Listen opens an address, such as a Network's; nil means TCP.
	Listen func(address string) (net.Listener, error)
	// TLS, when not nil, makes the hub serve https.
	TLS *tls.Config
	// TokenTTL is how long a token is valid; 0 means 300 s. It is announced in whole
	// seconds, rounded up, so a token with fractions expires earlier than announced.
	TokenTTL time.Duration
	// LinkTTL is how long a redirect to the CDN is valid; 0 means 20 min.
	LinkTTL time.Duration
	// Limit is how many manifest GETs an identity (an account, or the address
	// of an anonymous client) has in a Window; 0 means no limit and no quota
	// headers.
	Limit int
	// UserLimits are the limits of single accounts, instead of Limit; 0 means no limit
	// and no quota headers for that account.
	UserLimits map[string]int
	// Window is the time for Limit, from the first pull; 0 means 6 h.
	Window time.Duration
	// NoAuth makes the registry require no token. Then a missing repository is a 404,
	// and SetPrivate has no effect.
	NoAuth bool
	// Direct makes the registry serve blobs itself, without a CDN.
	Direct bool
	// NoLength omits Content-Length from blobs and manifest GETs: the bodies
	// are chunked.
	NoLength bool
	// Users maps the accounts of the token service to their passwords.
	Users map[string]string
	// Profile is how the hub differs from Docker Hub, and OtherAddr the address of its
	// other host, if it has one; empty means a free port of 127.0.0.1.
	Profile   Profile
	OtherAddr string
}

func (o Options) withDefaults() Options {
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.CDNAddr = cmp.Or(o.CDNAddr, "127.0.0.1:0")
	if o.Listen == nil {
		o.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	o.OtherAddr = cmp.Or(o.OtherAddr, "127.0.0.1:0")
	o.TokenTTL = cmp.Or(o.TokenTTL, o.Profile.Tokens.TTL, 300*time.Second)
	o.Profile.Tokens.Path = cmp.Or(o.Profile.Tokens.Path, "/token")
	if o.Profile.Auth.Challenges == nil {
		o.Profile.Auth.Challenges = []string{`Bearer realm="{realm}",service="registry.docker.io"{scope}{error}`}
	}
	o.LinkTTL = cmp.Or(o.LinkTTL, o.Profile.Blobs.LinkTTL, 20*time.Minute)
	o.Window = cmp.Or(o.Window, 6*time.Hour)
	return o
}

// Hub is a running simulator. It is also the http.Handler of its registry. Methods may
// be called concurrently.
type Hub struct {
	opts   Options
	secret []byte // signs the links to the CDN

	store  *store
	tokens *tokens
	quota  *quota
	faults *faults
	tally  *tally

	lifecycle sync.Mutex // held while the endpoints go up or down
	closed    bool       // guarded by lifecycle
	registry  *endpoint
	cdn       *endpoint
	other     *endpoint // down unless the profile has another host
}

var errClosed = errors.New("hub is closed")

// Start starts a Hub, which serves until Close. It fails when it cannot listen.
func Start(o Options) (*Hub, error) {
	o = o.withDefaults()
	h := &Hub{
		opts:   o,
		secret: []byte(rand.Text()),
		store:  newStore(),
		tokens: newTokens(o.TokenTTL, o.Users),
		quota:  newQuota(o),
		faults: &faults{},
		tally:  newTally(),
	}
	h.addPreview()
	h.registry = &endpoint{addr: o.Addr, handler: h, listen: o.Listen, tls: o.TLS}
	h.cdn = &endpoint{addr: o.CDNAddr, handler: http.HandlerFunc(h.serveCDN), listen: o.Listen, tls: o.TLS}
	h.other = &endpoint{addr: o.OtherAddr, handler: http.HandlerFunc(h.serveOther), listen: o.Listen, tls: o.TLS}
	if err := h.Up(); err != nil {
		return nil, fmt.Errorf("start hub: %w", err)
	}
	return h, nil
}

// Close stops serving, waits for the handlers and removes the blobs on disk. A closed
// hub cannot come Up again.
func (h *Hub) Close() {
	h.Down()
	h.lifecycle.Lock()
	defer h.lifecycle.Unlock()
	h.closed = true
	h.store.close()
}

// URL returns the URL of the registry, which /v2/ follows. It does not change with Down
// and Up.
func (h *Hub) URL() string { return h.registry.url(h.registry.address()) + h.opts.Profile.Prefix }

// Addresses returns the addresses of the registry, with its token service, and of the
// CDN as host:port. They do not change with Down and Up.
func (h *Hub) Addresses() (registry, cdn string) { return h.registry.address(), h.cdn.address() }

// Announce makes challenges and redirects name these addresses, such as those of
// proxies in front of the hub, instead of those on which the hub listens.
func (h *Hub) Announce(registry, cdn string) {
	h.registry.announce(registry)
	h.cdn.announce(cdn)
}

// Down takes the hub off the network: connections are cut, also in the middle of a
// body, and new ones are refused. It returns when the last handler has returned.
func (h *Hub) Down() {
	h.lifecycle.Lock()
	defer h.lifecycle.Unlock()
	h.down()
}

func (h *Hub) down() {
	for _, e := range h.endpoints() {
		e.down()
	}
}

func (h *Hub) endpoints() []*endpoint {
	all := []*endpoint{h.registry, h.cdn}
	if h.opts.Profile.OtherHost {
		all = append(all, h.other)
	}
	return all
}

// Up listens again on the ports that the hub had before Down. It fails when the hub
// is closed, or when a port is in use.
func (h *Hub) Up() error {
	h.lifecycle.Lock()
	defer h.lifecycle.Unlock()
	if h.closed {
		return errClosed
	}
	for _, e := range h.endpoints() {
		if err := e.up(); err != nil {
			h.down()
			return err
		}
	}
	return nil
}

// Counters returns a copy of the counters since Start or the last Reset. A request is
// counted before its client receives the response.
func (h *Hub) Counters() Counters { return h.tally.snapshot() }

// Reset sets all counters to zero. It does not reset the quota.
func (h *Hub) Reset() { h.tally.reset() }
