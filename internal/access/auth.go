package access

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"mirrord/internal/oci"
)

// verifyTime ends the verification of a credential, well below the 30 s after which
// containerd gives up.
const verifyTime = 20 * time.Second

// Method is a kind of credential, and the value of a metric label.
type Method string

const (
	Htpasswd Method = "htpasswd"
	Tokens   Method = "tokens"
	JWT      Method = "jwt"
)

// AuthOptions say how the clients of a listener prove who they are. Any method that
// succeeds is enough.
type AuthOptions struct {
	Htpasswd           string // file of users; empty: none
	Tokens             string // file of tokens; empty: none
	Issuers            []Issuer
	ClientCertificates bool // those that the TLS layer has verified
}

// Auth verifies the credentials that clients send to a listener. Its methods may be
// called concurrently.
type Auth struct {
	gate         *Gate
	certificates bool
	verifiers    []verifier // the cheapest first
	flights      singleflight.Group
}

// verifier verifies credentials of one method.
type verifier interface {
	method() Method
	accepts(credential) bool // reports whether it may be one of this method
	recall(fingerprint) (proof, bool)
	forget(fingerprint) // because it is wrong

	// verify returns the identity that the credential proves, and remembers it. It
	// calls check before work that someone who guesses must not cause without bound.
	// It fails with a *wrongError, with the error of check, or with oci.Unavailable.
	verify(ctx context.Context, c credential, check func() error) (string, error)
	reload()
}

// wrongError says that a credential proves nothing.
type wrongError struct {
	user   string // that exists, or empty
	reason string // for the client, who may be anyone
}

func (e *wrongError) Error() string { return e.reason }

// NewAuth reads the files. Issuers are not asked before a client comes with a token.
func (g *Gate) NewAuth(o AuthOptions) (*Auth, error) {
	a := &Auth{gate: g, certificates: o.ClientCertificates}
	if o.Tokens != "" {
		tokens, err := openTokens(o.Tokens, g.options.FileFailed)
		if err != nil {
			return nil, err
		}
		a.verifiers = append(a.verifiers, tokens)
	}
	if len(o.Issuers) > 0 {
		issuers, err := newIssuers(o.Issuers, g.options.IssuerFailed)
		if err != nil {
			return nil, err
		}
		a.verifiers = append(a.verifiers, issuers)
	}
	if o.Htpasswd != "" {
		passwords, err := openPasswords(o.Htpasswd, g.options.FileFailed, g.hashing)
		if err != nil {
			return nil, err
		}
		a.verifiers = append(a.verifiers, passwords)
	}
	return a, nil
}

// Reload reads the files if they have changed. A nil Auth has none.
func (a *Auth) Reload() {
	if a == nil {
		return
	}
	for _, v := range a.verifiers {
		v.reload()
	}
}

// identities returns what the client of r has proved to be, the name of its credential
// before those of its certificate. A wrong credential is no failure beside a
// certificate.
func (a *Auth) identities(r *http.Request, client oci.Client) ([]string, error) {
	var names []string
	if a.certificates {
		names = certificateNames(r.TLS)
	}
	c, ok := a.credentialOf(r)
	if !ok || len(a.verifiers) == 0 {
		if len(names) > 0 {
			return names, nil
		}
		return nil, a.anonymous()
	}
	name, err := a.authenticate(r.Context(), client, c)
	if err == nil {
		return append([]string{name}, names...), nil
	}
	if len(names) > 0 {
		return names, nil
	}
	return nil, err
}

// anonymous returns what a client without a credential is told.
func (a *Auth) anonymous() error {
	if len(a.verifiers) == 0 {
		return oci.Errorf(oci.Denied, "this mirror serves only clients with a TLS certificate that has a name, and this one has none (ask the operator for one)")
	}
	return oci.Errorf(oci.Unauthorized, "this mirror requires a login: run docker login, podman login or crane auth login for its address%s", a.hint())
}

// hint says what else than a password is accepted.
func (a *Auth) hint() string {
	passwords := slices.ContainsFunc(a.verifiers, func(v verifier) bool { return v.method() == Htpasswd })
	switch {
	case passwords && len(a.verifiers) == 1:
		return ""
	case passwords:
		return ", with a user and password, or with any user and a token as the password"
	}
	return ", with any user and a token as the password"
}

// credentialOf returns the credential in Authorization, false if there is none that can
// be understood.
func (a *Auth) credentialOf(r *http.Request) (credential, bool) {
	if user, password, ok := r.BasicAuth(); ok {
		if user == "" && password == "" { // podman and its relatives send this if they have no login
			return credential{}, false
		}
		return newCredential(a.gate.key, user, password, true), true
	}
	const bearer = "bearer "
	value := r.Header.Get("Authorization")
	if len(value) <= len(bearer) || !strings.EqualFold(value[:len(bearer)], bearer) {
		return credential{}, false
	}
	return newCredential(a.gate.key, "", strings.TrimSpace(value[len(bearer):]), false), true
}

// authenticate returns the identity that c proves. Clients that wait for the same one
// share its verification.
func (a *Auth) authenticate(ctx context.Context, client oci.Client, c credential) (string, error) {
	var usable []verifier
	known := false
	for _, v := range a.verifiers {
		if !v.accepts(c) {
			continue
		}
		p, ok := v.recall(c.id)
		if ok && time.Now().Before(p.until) {
			return p.name, nil
		}
		known = known || ok
		usable = append(usable, v)
	}
	if len(usable) == 0 {
		return "", a.anonymous()
	}
	check := func() error {
		if known {
			return nil
		}
		return a.gate.failures.check(client.Key())
	}
	name, err, _ := a.flights.Do(string(c.id[:])+client.Key().String(), func() (any, error) {
		ctx, cancel := detach(ctx)
		defer cancel()
		return a.verify(ctx, client, c, usable, check)
	})
	if err != nil {
		return "", err
	}
	return name.(string), nil
}

// verify tries the verifiers and counts a failure.
func (a *Auth) verify(ctx context.Context, client oci.Client, c credential, usable []verifier, check func() error) (string, error) {
	if err := check(); err != nil {
		return "", err
	}
	var wrong *wrongError
	var failed error // of a verifier that could not tell
	method := usable[len(usable)-1].method()
	for _, v := range usable {
		name, err := v.verify(ctx, c, check)
		if err == nil {
			return name, nil
		}
		if w, ok := errors.AsType[*wrongError](err); !ok {
			failed = err
		} else if wrong = w; v.method() == JWT {
			method = JWT // it looks like one
			break
		}
	}
	if failed != nil {
		return "", failed
	}
	for _, v := range usable {
		v.forget(c.id)
	}
	a.gate.failures.add(client.Key())
	a.gate.options.LoginFailed(LoginFailure{Client: client, Method: method, User: wrong.user, Err: wrong})
	return "", oci.Errorf(oci.Unauthorized, "login failed: %w", wrong)
}
