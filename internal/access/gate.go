package access

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/netip"
	"runtime"

	"golang.org/x/sync/semaphore"

	"mirrord/internal/oci"
)

// GateOptions say which clients are let in, and what is reported of them. The hooks
// must not block for long.
type GateOptions struct {
	Allow          []netip.Prefix // empty: all but those of Deny
	Deny           []netip.Prefix
	TrustedProxies []netip.Prefix // that may say which client they speak for

	Own          func(*http.Request) bool // the mirror itself sends the request, which is not reported; may be nil
	Refused      func(Refusal)            // a client by its network; may be nil
	LoginFailed  func(LoginFailure)
	FileFailed   func(error)                    // a changed file cannot be read; the last good one is used
	IssuerFailed func(issuer string, err error) // of tokens, cannot be asked for its keys
}

// LoginFailure is a login with a wrong credential. It contains no secret.
type LoginFailure struct {
	Client oci.Client
	Method Method
	User   string // empty when no user of that name exists: it could be a password
	Err    error
}

// Gate finds out who sends a request and lets in those who may use the mirror. It is
// shared by all listeners, as are the limits of failed logins.
type Gate struct {
	options  GateOptions
	failures *failures
	hashing  *semaphore.Weighted // passwords that are hashed at once
	key      []byte              // of the hashes by which credentials are remembered
}

// NewGate returns a Gate.
func NewGate(o GateOptions) *Gate {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return &Gate{
		options:  o,
		failures: newFailures(),
		hashing:  semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2))), // the rest is for those who are let in
		key:      key,
	}
}

// Handler returns a handler that leaves the client in the context of a request, see
// oci.ClientOf, and gives it to next, or to refuse with the reason. Next does not get
// the credentials. Without auth the listener is open: whatever a client sends, it is
// never asked for a login.
func (g *Gate) Handler(auth *Auth, next http.Handler, refuse func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := g.identify(r, auth)
		r = r.WithContext(oci.WithClient(r.Context(), client))
		for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
			r.Header.Del(name)
		}
		if err == nil {
			next.ServeHTTP(w, r)
			return
		}
		if oci.CodeOf(err) == oci.Unauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="mirrord"`)
		}
		refuse(w, r, err)
	})
}

// identify returns the client; its address also with an error.
func (g *Gate) identify(r *http.Request, auth *Auth) (oci.Client, error) {
	client := oci.Client{Address: clientAddress(r, g.options.TrustedProxies)}
	if rule, err := g.admit(client.Address); err != nil {
		if g.options.Refused != nil && (g.options.Own == nil || !g.options.Own(r)) {
			g.options.Refused(Refusal{Client: client, Rule: rule, Err: err})
		}
		return client, err
	}
	if auth == nil {
		return client, nil
	}
	names, err := auth.identities(r, client)
	client.Names = names
	return client, err
}

// admit applies the lists of networks. With an error it returns the setting that refuses.
func (g *Gate) admit(address netip.Addr) (rule string, err error) {
	if network, ok := find(g.options.Deny, address); ok {
		return "clients.deny", oci.Errorf(oci.Denied, "%s may not use this mirror: it is in %s, which clients.deny lists (ask the operator)", address, network)
	}
	if _, ok := find(g.options.Allow, address); !ok && len(g.options.Allow) > 0 {
		return "clients.allow", oci.Errorf(oci.Denied, "%s may not use this mirror: it is in no network that clients.allow lists (ask the operator)", address)
	}
	return "", nil
}

func find(networks []netip.Prefix, address netip.Addr) (netip.Prefix, bool) {
	for _, network := range networks {
		if network.Contains(address) {
			return network, true
		}
	}
	return netip.Prefix{}, false
}

// detach returns a context for work on behalf of several requests.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), verifyTime)
}
