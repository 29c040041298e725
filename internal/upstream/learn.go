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

// doubtTime is how long a challenge is not doubted again: a token service that
// is down costs one more ping in this time, not one for each request.
const doubtTime = 10 * time.Second

// ask returns the registry's challenge: the one that it has sent last.
func (t *tokens) ask(ctx context.Context) (challenge, error) {
	t.mu.Lock()
	c, known := t.challenge, !t.learnt.IsZero()
	t.mu.Unlock()
	if known {
		return c, nil
	}
	return t.ping(ctx)
}

// ping asks the registry anew what it wants, and remembers that.
func (t *tokens) ping(ctx context.Context) (challenge, error) {
	return share(ctx, &t.pings, "", func(ctx context.Context) (challenge, error) {
		refused, err := t.getRoot(ctx, "")
		if err != nil {
			return challenge{}, err
		}
		c, err := t.demanded(refused)
		if err != nil {
			return challenge{}, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.challenge, t.learnt, t.open = c, time.Now(), c.scheme == ""
		return c, nil
	})
}

// getRoot asks for /v2/, with the Authorization that is given. It returns nil
// for an answer that lets in.
func (t *tokens) getRoot(ctx context.Context, authorization string) (*refusal, error) {
	req, err := http.NewRequestWithContext(asking(ctx, Ping), http.MethodGet, apiURL(t.base, "", "").String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	client := http.Client{Transport: t.next, CheckRedirect: redirects(t.base)}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		discard(resp)
		return nil, nil
	}
	return readRefusal(resp), nil
}

// demanded returns what the answer to a ping asks for. Registries of which only
// a path is one may have no /v2/ there: then what is asked for tells.
func (t *tokens) demanded(refused *refusal) (challenge, error) {
	switch {
	case refused == nil:
		return challenge{}, nil
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
	return checkRealm(t.base, c.params["realm"])
}

// learn heeds the challenge of an answer to what was sent, and reports whether
// it is another one than that which sent answers.
func (t *tokens) learn(ctx context.Context, all []challenge, sent authorization) (changed bool, err error) {
	c, ok := choose(all)
	if !ok {
		return false, nil
	}
	if c.scheme == basic && strings.HasPrefix(sent.header, "Bearer ") {
		// Harbor says so of a token that it does not take, and still wants one.
		return t.moved(ctx, sent.key), nil
	}
	if err := t.checkRealm(c); err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challenge, t.learnt = c, time.Now()
	return c.key() != sent.key, nil
}

// unlearn makes the next exchange ask the registry what it wants.
func (t *tokens) unlearn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.learnt = time.Time{}
}

// moved asks the registry anew after the challenge of that key has led nowhere,
// and reports whether it now sends another one.
func (t *tokens) moved(ctx context.Context, key string) bool {
	t.mu.Lock()
	known, young := t.challenge, time.Since(t.learnt) < doubtTime
	t.mu.Unlock()
	if known.key() != key {
		return true
	}
	if young {
		return false
	}
	now, err := t.ping(ctx)
	return err == nil && now.key() != key
}

// doubtful reports whether an exchange that has failed with err may have been
// one with a token service that is no longer the registry's.
func doubtful(err error) bool {
	var limit *oci.LimitError
	return !errors.As(err, &limit) && !errors.Is(err, errLogin)
}
