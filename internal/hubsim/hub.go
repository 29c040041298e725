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

// Options say what kind of Hub to be. The zero value is Docker Hub without a
// limit on pulls.
type Options struct {
	// Addr is the address of the registry and its token service, CDNAddr that
	// of the CDN; empty means a free port of 127.0.0.1.
	Addr, CDNAddr string
	// Listen opens an address, such as a Network's; nil means TCP.
	Listen func(address string) (net.Listener, error)
	// TLS, when not nil, makes all that the hub serves https.
	TLS *tls.Config
	// TokenTTL is how long a token holds; 0 means 300 s. It is announced in
	// whole seconds, rounded up, so a shorter one expires before it said.
	TokenTTL time.Duration
	// LinkTTL is how long a redirect to the CDN is valid; 0 means 20 min.
	LinkTTL time.Duration
	// Limit is how many manifest GETs an identity (an account, or the address
	// of an anonymous client) has in a Window; 0 means no limit and no quota
	// headers.
	Limit int
	// UserLimits are the limits of single accounts, in the place of Limit; 0
	// means no limit and no quota headers for that account.
	UserLimits map[string]int
	// Window begins with the first pull counted; 0 means 6 h.
	Window time.Duration
	// NoAuth makes a registry that asks for no token. A missing repository is
	// then a 404, and SetPrivate has no effect.
	NoAuth bool
	// Direct makes the registry answer blobs itself, without a CDN.
	Direct bool
	// NoLength omits Content-Length from blobs and manifest GETs: the bodies
	// are chunked.
	NoLength bool
	// Users maps the accounts of the token service to their passwords.
	Users map[string]string
}

func (o Options) withDefaults() Options {
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.CDNAddr = cmp.Or(o.CDNAddr, "127.0.0.1:0")
	if o.Listen == nil {
		o.Listen = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	o.TokenTTL = cmp.Or(o.TokenTTL, 300*time.Second)
	o.LinkTTL = cmp.Or(o.LinkTTL, 20*time.Minute)
	o.Window = cmp.Or(o.Window, 6*time.Hour)
	return o
}

// Hub is a running simulator. It is also the http.Handler of its registry.
// All methods may be called concurrently.
type Hub struct {
	opts   Options
	secret []byte // signs the links to the CDN

	store  *store
	tokens *tokens
	quota  *quota
	faults *faults
	tally  *tally

	life     sync.Mutex // held while the endpoints go up or down
	closed   bool       // guarded by life
	registry *endpoint
	cdn      *endpoint
}

var errClosed = errors.New("hub is closed")

// Start listens and serves until Close.
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
	if err := h.Up(); err != nil {
		return nil, fmt.Errorf("start hub: %w", err)
	}
	return h, nil
}

// Close stops serving, waits for the handlers and removes the blobs on disk.
// A hub that is closed does not come Up again.
func (h *Hub) Close() {
	h.Down()
	h.life.Lock()
	defer h.life.Unlock()
	h.closed = true
	h.store.close()
}

// URL is where the registry is, and stays through Down and Up.
func (h *Hub) URL() string { return h.registry.url(h.registry.address()) }

// Addresses returns where the registry, with its token service, and the CDN
// listen, as host:port; they stay through Down and Up.
func (h *Hub) Addresses() (registry, cdn string) { return h.registry.address(), h.cdn.address() }

// Announce makes challenges and redirects name these addresses in the place of
// those that the hub listens on: they are of proxies that lead there.
func (h *Hub) Announce(registry, cdn string) {
	h.registry.announce(registry)
	h.cdn.announce(cdn)
}

// Down takes the hub off the network: connections are cut, also in the middle
// of a body, and new ones are refused. It returns when the last handler has.
func (h *Hub) Down() {
	h.life.Lock()
	defer h.life.Unlock()
	h.registry.down()
	h.cdn.down()
}

// Up listens again on the ports it had before Down. It fails when the hub is
// closed or when somebody else has taken a port since.
func (h *Hub) Up() error {
	h.life.Lock()
	defer h.life.Unlock()
	if h.closed {
		return errClosed
	}
	if err := h.registry.up(); err != nil {
		return err
	}
	if err := h.cdn.up(); err != nil {
		h.registry.down()
		return err
	}
	return nil
}

// Counters returns a copy of all counts since Start or the last Reset. A
// request is in them before its client sees the answer.
func (h *Hub) Counters() Counters { return h.tally.snapshot() }

// Reset sets all counters to zero. The quota stays spent.
func (h *Hub) Reset() { h.tally.reset() }
