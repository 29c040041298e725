package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	attemptTime = 10 * time.Second // for one attempt
	maxAttempts = 20
	maxAge      = 15 * time.Minute // of an event, after which it is not tried again
	firstDelay  = time.Second
	maxDelay    = time.Minute
	maxResponse = 64 << 10 // bytes of headers, and of a body that is read so that the connection can be used again
)

// NewClient returns a client for webhooks that trusts roots, nil for those of the system. It
// follows no redirect, and uses HTTP_PROXY and HTTPS_PROXY.
func NewClient(roots *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout, transport.MaxResponseHeaderBytes = 1, time.Minute, maxResponse
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	return &http.Client{
		Transport:     transport,
		Timeout:       attemptTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// deliverAll delivers what is put in q, until ctx ends or, once ended is closed, nothing
// waits.
func (n *Notifier) deliverAll(ctx context.Context, ended <-chan struct{}, q *queue) {
	defer func() {
		if left := q.stats().Waiting; left > 0 && n.opts.Hooks.Undelivered != nil {
			n.opts.Hooks.Undelivered(q.name, left)
		}
	}()
	for {
		if m, ok := q.first(); ok {
			outcome, err := n.deliver(ctx, q, m)
			if ctx.Err() != nil && err != nil {
				return
			}
			q.done(outcome)
			continue
		}
		select {
		case <-q.wake:
		case <-ended:
			if _, ok := q.first(); !ok {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// deliver sends m until it is accepted, refused, or too old.
func (n *Notifier) deliver(ctx context.Context, q *queue, m message) (Outcome, error) {
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		err := n.attempt(ctx, *q.target.Load(), m)
		if ctx.Err() == nil {
			n.report(q, err)
		}
		var refused *refusal
		wait := delay/2 + rand.N(delay/2)
		switch {
		case err == nil:
			return Delivered, nil
		case !mayRepeat(err):
			return Refused, err
		case errors.As(err, &refused):
			wait = max(wait, refused.after)
		}
		if attempt == maxAttempts || wait > maxAge-time.Since(m.created) { // a Retry-After may be centuries
			return Failed, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Failed, ctx.Err()
		}
		delay = min(2*delay, maxDelay)
	}
}

// mayRepeat reports whether a delivery that failed may succeed later: not when the target
// refused the event for good.
func mayRepeat(err error) bool {
	var refused *refusal
	return !errors.As(err, &refused) || refused.temporary()
}

// report tells when a target begins to fail, and when it recovers.
func (n *Notifier) report(q *queue, err error) {
	was := q.failing
	q.failing = err != nil
	switch hooks := n.opts.Hooks; {
	case q.failing && !was && hooks.Failing != nil:
		hooks.Failing(q.name, err, mayRepeat(err))
	case !q.failing && was && hooks.Recovered != nil:
		hooks.Recovered(q.name)
	}
}

// refusal is a response that is not a success.
type refusal struct {
	status int
	after  time.Duration // Retry-After
}

func (r *refusal) Error() string {
	return fmt.Sprintf("it responded with %d %s", r.status, http.StatusText(r.status))
}

func (r *refusal) temporary() bool {
	return r.status >= http.StatusInternalServerError || r.status == http.StatusTooManyRequests || r.status == http.StatusRequestTimeout
}

// attempt sends m once. The error has nothing of the URL but its host.
func (n *Notifier) attempt(ctx context.Context, t Target, m message) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(m.body))
	if err != nil {
		return errors.New("its URL is invalid")
	}
	own, err := t.read()
	if err != nil {
		return err
	}
	own.addTo(request.Header, m)
	client := n.opts.Client
	if own.roots != nil {
		client = NewClient(own.roots)
		defer client.CloseIdleConnections()
	}
	response, err := client.Do(request)
	if err != nil {
		var at *url.Error // which has the URL
		if errors.As(err, &at) {
			err = at.Err
		}
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxResponse))
	_ = response.Body.Close()
	if response.StatusCode/100 == 2 {
		return nil
	}
	return &refusal{response.StatusCode, retryAfter(response.Header.Get("Retry-After"))}
}

// retryAfter parses seconds or a date; 0 when it is neither.
func retryAfter(s string) time.Duration {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return time.Until(at)
}
