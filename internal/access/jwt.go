package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"mirrord/internal/oci"
)

// issuers is the verifier of JWTs.
type issuers struct {
	all    []*issuer
	memory *memory
}

func newIssuers(configured []Issuer, failed func(string, error)) (*issuers, error) {
	all := &issuers{memory: newMemory()}
	for _, o := range configured {
		i, err := newIssuer(o, failed)
		if err != nil {
			return nil, err
		}
		all.all = append(all.all, i)
	}
	return all, nil
}

func (s *issuers) method() Method { return JWT }

// accepts whatever has the form of a JWT: three parts, of which the first is encoded JSON.
func (s *issuers) accepts(c credential) bool {
	return strings.HasPrefix(c.secret, "ey") && strings.Count(c.secret, ".") == 2
}

func (s *issuers) recall(id fingerprint) (proof, bool) { return s.memory.recall(id) }

func (s *issuers) forget(id fingerprint) { s.memory.forget(id) }

func (s *issuers) reload() {}

// verify tries each entry of the configuration for the token's issuer.
func (s *issuers) verify(ctx context.Context, c credential, _ func() error) (string, error) {
	from := claimedIssuer(c.secret)
	var failed error = &wrongError{reason: "the issuer of the token is not accepted"}
	for _, i := range s.all {
		if i.URL != from {
			continue
		}
		token, err := i.verify(ctx, c.secret)
		if err != nil {
			failed = err
			continue
		}
		name := "jwt:" + token.Subject
		s.memory.add(c.id, name, token.Expiry)
		return name, nil
	}
	return "", failed
}

// claimedIssuer returns the issuer that a token names, which is not verified.
func claimedIssuer(token string) string {
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

func (i *issuer) verify(ctx context.Context, raw string) (*oidc.IDToken, error) {
	verifier, err := i.verifier(ctx)
	if err != nil {
		return nil, i.unavailable(err)
	}
	var keysError error
	token, err := verifier.Verify(context.WithValue(ctx, keysErrorKey{}, &keysError), raw)
	if _, asked := errors.AsType[*url.Error](keysError); asked && !errors.Is(keysError, errTooOften) {
		i.report(keysError)
		return nil, i.unavailable(keysError)
	}
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return nil, &wrongError{reason: "the token has expired at " + expired.Expiry.UTC().Format(time.RFC3339)}
	}
	if err != nil {
		return nil, &wrongError{reason: fmt.Sprintf("the token is not valid for this mirror: it must be signed by %s for the audience %q", i.URL, i.Audience)}
	}
	if !usableName(token.Subject) || !i.acceptsSubject(token.Subject) {
		return nil, &wrongError{reason: "the subject of the token is not accepted"}
	}
	return token, nil
}

func (i *issuer) unavailable(err error) error {
	return &oci.Error{Code: oci.Unavailable, Message: fmt.Sprintf("the token cannot be verified now: its issuer %s does not answer; try again", i.URL), Err: err}
}

func (i *issuer) acceptsSubject(subject string) bool {
	return len(i.Subjects) == 0 || slices.ContainsFunc(i.Subjects, func(pattern string) bool { return matchesPattern(flat(pattern), flat(subject)) })
}
