package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"mirrord/internal/oci"
)

const (
	maxTokens    = 4096             // repositories whose token is remembered
	tokenTime    = 15 * time.Second // for one exchange
	defaultTTL   = 60 * time.Second // of a token that does not tell
	maxTTL       = 24 * time.Hour   // of any
	expiryMargin = 30 * time.Second // a token is renewed so long before it expires, or
	marginShare  = 4                // at a quarter of its life when that is sooner
)

// authorization is the value of one Authorization header; empty when the
// upstream needs none.
type authorization struct {
	header string
	until  time.Time
	fresh  bool // fetched for this very request
	login  bool // header is the login itself: who refuses it refuses that
}

// tokens gets and remembers the authorization for each repository: one scope a
// token, one exchange at a time for each. It may be used concurrently.
type tokens struct {
	name     string
	auth     authn.Authenticator
	registry name.Registry
	rt       http.RoundTripper
	realmOK  func(realm string) error
	byRepo   *lru.Cache[string, authorization]
	flights  singleflight.Group // one for each repository
	pings    singleflight.Group // one

	mu        sync.Mutex // guards challenge
	challenge *transport.Challenge
}

func newTokens(o Options) *tokens {
	byRepo, err := lru.New[string, authorization](maxTokens)
	if err != nil {
		panic(err) // only for a size below one
	}
	host, err := name.NewRegistry(o.URL.Host)
	t := &tokens{
		name:     o.Name,
		auth:     secret{o.Auth},
		registry: host,
		rt:       pinned{base: o.URL, next: o.Transport},
		byRepo:   byRepo,
	}
	t.realmOK = func(realm string) error {
		if err != nil {
			return err
		}
		return checkRealm(o.URL, realm)
	}
	return t
}

// authorization returns what to send for a pull from repository.
func (t *tokens) authorization(ctx context.Context, repository string) (authorization, error) {
	if a, ok := t.known(repository); ok {
		return a, nil
	}
	flight := t.flights.DoChan(repository, func() (any, error) {
		// Another flight may have landed since.
		if a, ok := t.known(repository); ok {
			return a, nil
		}
		// The exchange serves everybody who waits: no single one ends it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTime)
		defer cancel()
		return t.exchange(ctx, repository)
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return authorization{}, result.Err
		}
		a := result.Val.(authorization)
		a.fresh = true
		return a, nil
	case <-ctx.Done():
		return authorization{}, context.Cause(ctx)
	}
}

// known returns the authorization that is remembered and still holds.
func (t *tokens) known(repository string) (authorization, bool) {
	a, ok := t.byRepo.Get(repository)
	return a, ok && time.Now().Before(a.until)
}

// renew drops what the registry did not take and reports whether asking again
// may help: not when it was fresh.
func (t *tokens) renew(repository string, refused authorization) bool {
	if refused.fresh && refused.header != "" {
		t.byRepo.Remove(repository)
		return false
	}
	if a, ok := t.byRepo.Peek(repository); ok && a.header == refused.header {
		t.byRepo.Remove(repository)
	}
	if refused.header == "" {
		t.mu.Lock()
		t.challenge = nil // it asks for a login now
		t.mu.Unlock()
	}
	return true
}

// exchange asks for a token and remembers it.
func (t *tokens) exchange(ctx context.Context, repository string) (authorization, error) {
	challenge, err := t.ask(ctx)
	if err != nil {
		return authorization{}, t.failed("cannot be asked whether it wants a login", err)
	}
	var a authorization
	switch strings.ToLower(challenge.Scheme) {
	case "":
		a = authorization{until: time.Now().Add(time.Hour)}
	case "bearer":
		a, err = t.bearer(ctx, challenge, repository)
	case "basic":
		a, err = t.basic(ctx)
	default:
		err = fmt.Errorf("it asks for authorization %q, which is not supported", challenge.Scheme)
	}
	if err != nil {
		return authorization{}, t.refused(ctx, "gives no token for "+repository, err)
	}
	t.byRepo.Add(repository, a)
	return a, nil
}

// ask returns the upstream's challenge, which is learnt once.
func (t *tokens) ask(ctx context.Context) (*transport.Challenge, error) {
	t.mu.Lock()
	known := t.challenge
	t.mu.Unlock()
	if known != nil {
		return known, nil
	}
	result, err, _ := t.pings.Do("", func() (any, error) {
		return transport.Ping(asking(ctx, Ping), t.registry, t.rt)
	})
	if err != nil {
		return nil, err
	}
	challenge := result.(*transport.Challenge)
	if realm := challenge.Parameters["realm"]; strings.EqualFold(challenge.Scheme, "bearer") {
		if err := t.realmOK(realm); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challenge = challenge
	return challenge, nil
}

func (t *tokens) bearer(ctx context.Context, challenge *transport.Challenge, repository string) (authorization, error) {
	scope := "repository:" + repository + ":pull"
	token, err := transport.Exchange(asking(ctx, Token), t.registry, t.auth, t.rt, []string{scope}, challenge)
	if err != nil {
		return authorization{}, err
	}
	value := token.Token
	if value == "" {
		value = token.AccessToken
	}
	if value == "" {
		return authorization{}, errors.New("the token service sent no token")
	}
	ttl := defaultTTL
	if token.ExpiresIn > 0 {
		ttl = min(time.Duration(token.ExpiresIn), maxTTL/time.Second) * time.Second
	}
	margin := min(expiryMargin, ttl/marginShare)
	return authorization{header: "Bearer " + value, until: time.Now().Add(ttl - margin)}, nil
}

func (t *tokens) basic(ctx context.Context) (authorization, error) {
	login, err := authn.Authorization(ctx, t.auth)
	if err != nil {
		return authorization{}, err
	}
	pair := base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))
	return authorization{header: "Basic " + pair, until: time.Now().Add(defaultTTL), login: login.Username != ""}, nil
}

// errLogin marks the failure of a login: another one may be let in.
var errLogin = errors.New("the login failed")

// secret is an Authenticator whose failure is one of the login.
type secret struct{ authn.Authenticator }

func (s secret) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	login, err := authn.Authorization(ctx, s.Authenticator)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLogin, err)
	}
	return login, nil
}

// forget drops all that was granted.
func (t *tokens) forget() { t.byRepo.Purge() }

// failed makes the error of a login that did not come about. It is the
// upstream's state, not the content's.
func (t *tokens) failed(what string, err error) error {
	if refused := refusedByOurs(err); refused != nil {
		return refused
	}
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return oci.Errorf(oci.Unavailable, "%s %s: %w", t.name, what, firstLine{redact(err)})
	}
	return oci.Errorf(oci.Unavailable, "%s %s: status %d", t.name, what, refused.StatusCode)
}

// refused is failed, but where a login was sent and not let in, it is the login
// that failed.
func (t *tokens) refused(ctx context.Context, what string, err error) error {
	var refused *transport.Error
	if errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden) {
		login, failed := authn.Authorization(ctx, t.auth)
		if failed != nil || *login != (authn.AuthConfig{}) {
			return loginRefused(t.name, fmt.Sprintf("it %s: status %d", what, refused.StatusCode))
		}
	}
	return t.failed(what, err)
}

// loginRefused makes the error of a login that an upstream does not take.
func loginRefused(upstream, why string) error {
	return &oci.Error{
		Code:    oci.Unavailable,
		Message: fmt.Sprintf("%s refuses the login: check its user name and password (%s)", upstream, why),
		Err:     errLogin,
	}
}

// firstLine is an error without what the library repeats of a token service's
// answer on further lines: it may hold a token.
type firstLine struct{ error }

func (f firstLine) Error() string {
	line, _, _ := strings.Cut(f.error.Error(), "\n")
	return line
}

func (f firstLine) Unwrap() error { return f.error }
