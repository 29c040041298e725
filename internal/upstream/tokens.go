package upstream

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"mirrord/internal/oci"
)

const (
	maxTokens  = 4096             // permissions whose token is cached
	tokenTime  = 15 * time.Second // for one exchange
	freshTime  = 10 * time.Second // for which a token that was just issued is not renewed when it is refused
	deniedTime = 30 * time.Second // for which a denied repository is not requested again
)

// authorization is the value of an Authorization header; empty when the upstream
// requires none, or when there is no login to send.
type authorization struct {
	header string
	key    string           // of the challenge that it is for
	login  authn.AuthConfig // in header; zero for a token
	got    time.Time
	until  time.Time
	denied error // why there is none: the token service denies the repository
}

func (a authorization) fresh() bool { return time.Since(a.got) < freshTime }

// tokens gets and caches the authorization for each permission: one scope per token,
// one exchange at a time per permission. It may be used concurrently.
type tokens struct {
	name       string
	base       *url.URL
	hosts      []string // of its token service
	auth       authn.Authenticator
	next       http.RoundTripper // to the registry
	service    http.RoundTripper // to its token service
	cached     *lru.Cache[permission, authorization]
	flights    singleflight.Group // one for each permission
	pings      singleflight.Group // one
	checks     singleflight.Group // of the login: one
	unverified chan struct{}      // held while a login that was not checked lately is used
	waiters    waiters

	mu          sync.Mutex // guards all below; held for no I/O
	challenge   challenge
	challengeAt time.Time // zero: the challenge is not known
	open        bool      // the last ping was accepted without a login
	login       loginState
}

func newTokens(o Options) *tokens {
	cached, err := lru.New[permission, authorization](maxTokens)
	if err != nil {
		panic(err) // only for a size below one
	}
	check := func(realm string) error { return checkRealm(o.URL, o.TokenHosts, realm) }
	return &tokens{
		name:       o.Name,
		base:       o.URL,
		hosts:      o.TokenHosts,
		auth:       loginAuthenticator{o.Auth},
		next:       o.Transport,
		service:    tokenService{check: check, next: o.Transport},
		cached:     cached,
		unverified: make(chan struct{}, 1),
	}
}

// authorization returns the authorization for p.
func (t *tokens) authorization(ctx context.Context, p permission) (authorization, error) {
	if a, ok := t.known(p); ok {
		return a, a.denied
	}
	defer t.waiters.add(oci.Progress(ctx))()
	return doShared(ctx, &t.flights, p.scope(), func(ctx context.Context) (authorization, error) {
		// Another exchange may have completed since.
		if a, ok := t.known(p); ok {
			return a, a.denied
		}
		return t.exchange(withProgressTrace(oci.WithProgress(ctx, t.waiters.notifyAll)), p)
	})
}

// known returns the cached authorization, if it is still valid.
func (t *tokens) known(p permission) (authorization, bool) {
	a, ok := t.cached.Get(p)
	return a, ok && time.Now().Before(a.until)
}

// drop forgets an authorization that was refused, unless it has been replaced since.
func (t *tokens) drop(p permission, refused authorization) {
	if a, ok := t.cached.Peek(p); ok && a.header == refused.header {
		t.cached.Remove(p)
	}
}

// forget drops all tokens, denials and what was discovered.
func (t *tokens) forget() {
	t.cached.Purge()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challengeAt, t.login = time.Time{}, loginState{}
}
