package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"mirrord/internal/oci"
)

const (
	defaultTTL   = 60 * time.Second // of a token without expires_in
	maxTTL       = 24 * time.Hour   // of any token
	expiryMargin = 30 * time.Second // a token is renewed this long before it expires, or
	marginShare  = 4                // at a quarter of its lifetime before, if that is less
)

// errMoved says that the registry now sends another challenge.
var errMoved = errors.New("the registry now names another token service")

// exchange gets an authorization for p and caches it.
func (t *tokens) exchange(ctx context.Context, p permission) (authorization, error) {
	a, err := t.requestAuthorization(ctx, p)
	if errors.Is(err, errMoved) {
		a, err = t.requestAuthorization(ctx, p)
	}
	if err != nil {
		return authorization{}, t.exchangeError("cannot get a token for "+p.repository, err)
	}
	a.got = time.Now()
	t.cached.Add(p, a)
	return a, a.denied
}

// requestAuthorization answers the registry's challenge.
func (t *tokens) requestAuthorization(ctx context.Context, p permission) (authorization, error) {
	c, err := t.currentChallenge(ctx)
	if err != nil {
		return authorization{}, t.exchangeError("cannot find out whether a login is required", err)
	}
	if c.scheme == "" {
		return authorization{until: time.Now().Add(time.Hour)}, nil
	}
	login, err := authn.Authorization(ctx, t.auth)
	if err != nil {
		return authorization{}, err
	}
	release, err := t.acquireLogin(ctx, *login)
	if err != nil {
		return authorization{}, err
	}
	defer release()
	if c.scheme == basic {
		return basicAuthorization(*login), nil
	}
	return t.bearer(ctx, c, *login, p)
}

// basicAuthorization returns an empty header when there is no login.
func basicAuthorization(login authn.AuthConfig) authorization {
	a := authorization{key: basic, until: time.Now().Add(defaultTTL)}
	if login.Username == "" && login.Password == "" {
		return a
	}
	a.header = "Basic " + base64.StdEncoding.EncodeToString([]byte(login.Username+":"+login.Password))
	a.login = login
	return a
}

// bearer gets a token. When the token service refuses, it finds out whether it
// refuses the login or the repository.
func (t *tokens) bearer(ctx context.Context, c challenge, login authn.AuthConfig, p permission) (authorization, error) {
	a, err := t.token(ctx, c, login, p.scope())
	if err == nil {
		t.acceptLogin(login)
		return a, nil
	}
	if mayHaveMoved(err) && t.challengeChanged(ctx, c.key()) {
		return authorization{}, errMoved
	}
	var refused *denial
	if errors.As(err, &refused) {
		return t.resolveDenial(ctx, c, login, p.repository, refused)
	}
	return authorization{}, err
}

// token asks the token service at c's realm for a token of these scopes.
func (t *tokens) token(ctx context.Context, c challenge, login authn.AuthConfig, scopes ...string) (authorization, error) {
	realm, err := url.Parse(c.params["realm"])
	if err != nil {
		return authorization{}, err
	}
	// For a private address the library accepts only a realm at the registry's own
	// host and port. checkRealm has already decided where a realm may be.
	registry, err := name.NewRegistry(realm.Host)
	if err != nil {
		return authorization{}, err
	}
	token, err := transport.Exchange(withOperation(ctx, Token), registry, authn.FromConfig(login), t.service, scopes,
		&transport.Challenge{Scheme: c.scheme, Parameters: c.params, Insecure: t.base.Scheme == "http"})
	if err != nil {
		return authorization{}, err
	}
	value := token.Token
	if value == "" {
		value = token.AccessToken
	}
	if !isTokenValue(value) {
		return authorization{}, errors.New("the token service sent no token that is valid in a header")
	}
	ttl := defaultTTL
	if token.ExpiresIn > 0 {
		ttl = min(time.Duration(token.ExpiresIn), maxTTL/time.Second) * time.Second
	}
	margin := min(expiryMargin, ttl/marginShare)
	return authorization{header: "Bearer " + value, key: c.key(), until: time.Now().Add(ttl - margin)}, nil
}

// isTokenValue reports whether value can be sent after "Bearer": visible ASCII.
// RFC 6750 allows less, but registries accept whatever they have issued.
func isTokenValue(value string) bool {
	return value != "" && strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// loginAuthenticator is an Authenticator whose errors wrap oci.ErrLogin.
type loginAuthenticator struct{ authn.Authenticator }

func (a loginAuthenticator) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	login, err := authn.Authorization(ctx, a.Authenticator)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oci.ErrLogin, err)
	}
	return login, nil
}

// exchangeError returns the error for a failed token exchange. It is about the state
// of the upstream, not of the content.
func (t *tokens) exchangeError(what string, err error) error {
	if refused := localRefusal(err); refused != nil {
		return refused
	}
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return oci.Errorf(oci.Unavailable, "%s: %s: %w", t.name, what, firstLine{redact(err)})
	}
	return oci.Errorf(oci.Unavailable, "%s: %s: %w", t.name, what, responded{refused.StatusCode, fmt.Sprintf("%d %s", refused.StatusCode, http.StatusText(refused.StatusCode))})
}

// firstLine is an error without its further lines, in which the library repeats the
// token service's response: that may contain a token.
type firstLine struct{ error }

func (f firstLine) Error() string {
	line, _, _ := strings.Cut(f.error.Error(), "\n")
	return line
}

func (f firstLine) Unwrap() error { return f.error }
