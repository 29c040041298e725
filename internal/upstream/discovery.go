package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"mirrord/internal/oci"
)

// recheckTime is how long a challenge is not checked again: a token service that is
// down costs one ping in this time, and not one for each request.
const recheckTime = 10 * time.Second

// currentChallenge returns the registry's challenge: the one that it has sent last.
func (t *tokens) currentChallenge(ctx context.Context) (challenge, error) {
	t.mu.Lock()
	c, known := t.challenge, !t.challengeAt.IsZero()
	t.mu.Unlock()
	if known {
		return c, nil
	}
	return t.discover(ctx)
}

// discover asks the registry again which authorization it requires, and remembers it.
func (t *tokens) discover(ctx context.Context) (challenge, error) {
	return doShared(ctx, &t.pings, "", func(ctx context.Context) (challenge, error) {
		c, err := t.requiredChallenge(t.getAPIRoot(ctx, ""))
		if err != nil {
			return challenge{}, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.challenge, t.challengeAt, t.open = c, time.Now(), c.scheme == ""
		return c, nil
	})
}

// getAPIRoot asks for /v2/ with that Authorization, if any. It fails with a *denial
// when the registry refuses.
func (t *tokens) getAPIRoot(ctx context.Context, authorization string) error {
	req, err := http.NewRequestWithContext(withOperation(ctx, Ping), http.MethodGet, apiURL(t.base, "", "").String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", userAgent)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	client := http.Client{Transport: t.next, CheckRedirect: redirects(t.base)}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode < 300 {
		discard(resp)
		return nil
	}
	return &denial{readRefusal(resp)}
}

// requiredChallenge returns what the registry requires, by the error of getAPIRoot. One
// that is a registry only below a path may have no /v2/: the response to the request for
// the content says then what it requires.
func (t *tokens) requiredChallenge(err error) (challenge, error) {
	var refused *denial
	switch {
	case err == nil:
		return challenge{}, nil
	case !errors.As(err, &refused):
		return challenge{}, err
	case refused.code == http.StatusUnauthorized && len(refused.challenges) > 0:
	case refused.code >= 400 && refused.code < 500:
		return challenge{}, nil
	default:
		return challenge{}, errors.New("it responded with " + refused.status)
	}
	c, ok := choose(refused.challenges)
	if !ok {
		return challenge{}, fmt.Errorf("it requires authorization by %s, which is not supported", schemesOf(refused.challenges))
	}
	return c, t.checkRealm(c)
}

func schemesOf(all []challenge) string {
	var schemes []string
	for _, c := range all {
		schemes = append(schemes, c.scheme)
	}
	return fmt.Sprintf("%.80q", strings.Join(schemes, ", "))
}

func (t *tokens) checkRealm(c challenge) error {
	if c.scheme != bearer {
		return nil
	}
	return checkRealm(t.base, t.hosts, c.params["realm"])
}

// updateChallenge adopts the challenge in the response to a request that was sent
// with that authorization, and reports whether it differs from the challenge that the
// authorization was for.
func (t *tokens) updateChallenge(ctx context.Context, all []challenge, sent authorization) (changed bool, err error) {
	c, ok := choose(all)
	if !ok {
		return false, nil
	}
	if c.scheme == basic && strings.HasPrefix(sent.header, "Bearer ") {
		// Harbor sends this when it rejects a token, and still requires one.
		return t.challengeChanged(ctx, sent.key), nil
	}
	if err := t.checkRealm(c); err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challenge, t.challengeAt = c, time.Now()
	return c.key() != sent.key, nil
}

// invalidateChallenge makes the next exchange discover the challenge again.
func (t *tokens) invalidateChallenge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challengeAt = time.Time{}
}

// challengeChanged asks the registry again after an exchange for the challenge of
// that key has failed, and reports whether it now sends another one.
func (t *tokens) challengeChanged(ctx context.Context, key string) bool {
	t.mu.Lock()
	known, young := t.challenge, time.Since(t.challengeAt) < recheckTime
	t.mu.Unlock()
	if known.key() != key {
		return true
	}
	if young {
		return false
	}
	now, err := t.discover(ctx)
	return err == nil && now.key() != key
}

// mayHaveMoved reports whether an exchange that failed with err may have been with a
// token service that the registry no longer uses.
func mayHaveMoved(err error) bool {
	var limit *oci.LimitError
	return !errors.As(err, &limit) && !errors.Is(err, oci.ErrLogin)
}
