package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"mirrord/internal/oci"
)

// loginGoodTime is how long a login that was accepted is not checked again when a
// repository is denied to it.
const loginGoodTime = time.Minute

// loginState is what is known of a login. A login that was refused is not sent again
// for disableTime: GitLab locks an address out for an hour after 30 of them in three
// minutes.
type loginState struct {
	login authn.AuthConfig
	until time.Time
	err   error // nil: it was accepted
}

// knownLogin returns what is known of login.
func (t *tokens) knownLogin(login authn.AuthConfig) (state loginState, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.login, t.login.login == login && time.Now().Before(t.login.until)
}

func (t *tokens) acceptLogin(login authn.AuthConfig) {
	t.setLogin(loginState{login: login, until: time.Now().Add(loginGoodTime)})
}

func (t *tokens) setLogin(s loginState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.login = s
}

// acquireLogin waits until login may be used, and fails when it was refused. A login of
// which nothing is known is used once at a time: a wrong one would otherwise be sent for
// a hundred repositories at once.
func (t *tokens) acquireLogin(ctx context.Context, login authn.AuthConfig) (release func(), err error) {
	release = func() {}
	if login == (authn.AuthConfig{}) {
		return release, nil
	}
	if state, known := t.knownLogin(login); known {
		return release, state.err
	}
	select {
	case t.unverified <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if state, known := t.knownLogin(login); known { // checked meanwhile
		<-t.unverified
		return release, state.err
	}
	return func() { <-t.unverified }, nil
}

// resolveDenial finds out whether a token service refuses the repository or the
// login. If it is the repository, that is denied for deniedTime.
func (t *tokens) resolveDenial(ctx context.Context, c challenge, login authn.AuthConfig, repository string, refused *denial) (authorization, error) {
	anonymous := login == (authn.AuthConfig{})
	if anonymous && !refused.authoritative || !anonymous && !refusesLogin(refused.refusal) {
		return authorization{}, refused
	}
	if !anonymous {
		probe := func(ctx context.Context) error { return t.tokenWithoutScope(ctx, c, login) }
		if err := t.checkLogin(ctx, login, probe); err != nil {
			return authorization{}, err
		}
	}
	err := oci.Errorf(oci.Denied, "%s: pull of %s denied by its token service%s", t.name, repository, refused.message)
	if refused.code == http.StatusUnauthorized {
		err = oci.Errorf(oci.NameUnknown, "%s: repository %s does not exist, or the login may not pull it%s", t.name, repository, refused.message)
	}
	return authorization{key: c.key(), denied: err, until: time.Now().Add(deniedTime)}, nil
}

// checkLogin returns nil when login was accepted lately, or is by probe, which fails
// with a *denial when it is refused.
func (t *tokens) checkLogin(ctx context.Context, login authn.AuthConfig, probe func(context.Context) error) error {
	_, err := doShared(ctx, &t.checks, "", func(ctx context.Context) (none struct{}, err error) {
		if state, known := t.knownLogin(login); known {
			return none, state.err
		}
		var refused *denial
		switch err := probe(ctx); {
		case err == nil:
			t.acceptLogin(login)
			return none, nil
		case !errors.As(err, &refused):
			return none, t.exchangeError("cannot check the login", err)
		case !refusesLogin(refused.refusal):
			return none, t.exchangeError("cannot tell whether the login is valid", refused)
		}
		return none, t.rejectLogin(login, refused.refusal)
	})
	return err
}

// refusesLogin reports whether the login is refused. An HTML page counts only if it
// comes with a challenge, as nginx sends it; the pages of filters have none.
func refusesLogin(refused *refusal) bool {
	_, hasChallenge := choose(refused.challenges)
	return refused.code == http.StatusUnauthorized && (hasChallenge || !refused.html) || refused.code == http.StatusForbidden && !refused.html
}

// rejectLogin notes that login was refused.
func (t *tokens) rejectLogin(login authn.AuthConfig, refused *refusal) error {
	err := &oci.Error{
		Code:    oci.Unavailable,
		Message: fmt.Sprintf("%s refuses the login: check its user name and password (it responded with %s%s)", t.name, refused.status, refused.message),
		Err:     oci.ErrLogin,
	}
	t.setLogin(loginState{login: login, until: time.Now().Add(disableTime), err: err})
	return err
}

// tokenWithoutScope asks for a token without any permission, which every valid login
// gets: it is what docker login asks for.
func (t *tokens) tokenWithoutScope(ctx context.Context, c challenge, login authn.AuthConfig) error {
	_, err := t.token(ctx, c, login)
	return err
}

// checkBasic finds out whether a registry refuses the login that it was sent, or the
// content. Where /v2/ is open it says nothing: then a 401 means the login, unless
// that was accepted elsewhere lately.
func (t *tokens) checkBasic(ctx context.Context, sent authorization, refused *refusal) error {
	if t.isOpen() {
		state, known := t.knownLogin(sent.login)
		switch {
		case known:
			return state.err
		case refused.code != http.StatusUnauthorized:
			return nil
		}
		return t.rejectLogin(sent.login, refused)
	}
	return t.checkLogin(ctx, sent.login, func(ctx context.Context) error { return t.getAPIRoot(ctx, sent.header) })
}

func (t *tokens) isOpen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// recordBasicLogin notes that a registry which does not check logins at /v2/ has
// accepted one.
func (t *tokens) recordBasicLogin(sent authorization) {
	if sent.header != "" && sent.key == basic && t.isOpen() {
		t.acceptLogin(sent.login)
	}
}
