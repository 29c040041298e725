package upstream

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/oci"
)

// Afresh returns a Registry like r that has no token and knows nothing of the login: what
// it returns is what r would after a restart.
func (r *Registry) Afresh() *Registry { return New(r.opts) }

// HasLogin reports whether there is a login to send. It fails with oci.ErrLogin when that
// cannot be read.
func (r *Registry) HasLogin(ctx context.Context) (bool, error) {
	login, err := authn.Authorization(ctx, r.tokens.auth)
	if err != nil {
		return false, err
	}
	return *login != (authn.AuthConfig{}), nil
}

// AskedForLogin reports whether the registry has required an authorization of any request so
// far: otherwise no login was sent to it.
func (r *Registry) AskedForLogin() bool {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	return r.tokens.challenge.scheme != ""
}

// LogIn does what docker login does: it gets a token without a repository, or has the login
// accepted at /v2/, as the registry requires. It fails with oci.ErrLogin when the login is
// refused, and with oci.Denied when there is none and one is required.
func (r *Registry) LogIn(ctx context.Context) error {
	ctx, _, cancel := r.withResponseTimeout(ctx)
	defer cancel()
	t := r.tokens
	c, err := t.currentChallenge(ctx)
	if err != nil {
		return t.exchangeError("cannot find out whether a login is required", err)
	}
	if c.scheme == "" {
		return nil
	}
	login, err := authn.Authorization(ctx, t.auth)
	if err != nil {
		return err
	}
	probe := func(ctx context.Context) error { return t.tokenWithoutScope(ctx, c, *login) }
	if c.scheme == basic {
		probe = func(ctx context.Context) error { return t.getAPIRoot(ctx, basicAuthorization(*login).header) }
	}
	if *login != (authn.AuthConfig{}) {
		return t.checkLogin(ctx, *login, probe)
	}
	var refused *denial
	switch err := probe(ctx); {
	case errors.As(err, &refused):
		return oci.Errorf(oci.Denied, "%s: requires a login: %w", t.name, refused)
	case err != nil:
		return t.exchangeError("cannot get a token", err)
	}
	return nil
}
