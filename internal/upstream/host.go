package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"mirrord/internal/oci"
)

// host is one host of an upstream. While its breaker is not closed, only probes
// are sent to it.
type host struct {
	*BreakerOptions
	ping    url.URL // what a probe asks for
	breaker *gobreaker.TwoStepCircuitBreaker[any]

	failures atomic.Int32          // in a row: those that opened the breaker, and the probes since
	cause    atomic.Pointer[error] // of the last one
}

// newHost returns the host of u.
func newHost(u *url.URL, o *BreakerOptions) *host {
	h := &host{BreakerOptions: o, ping: url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/v2/"}}
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= hostFailures },
		IsExcluded:    func(err error) bool { return errors.Is(err, errLeft) },
		OnStateChange: func(_ string, from, to gobreaker.State) { h.changed(from, to) },
		Timeout:       time.Second, // before it lets a probe through; Run decides when there is one
	})
	return h
}

func (h *host) failing() bool { return h.breaker.State() != gobreaker.StateClosed }

// admit lets a client's request through, or returns why not. How it went is for
// settle, with done.
func (h *host) admit() (done func(error), refused error) {
	if h.failing() {
		return nil, h.refusal()
	}
	done, err := h.breaker.Allow()
	if err != nil { // it has opened since
		return nil, h.refusal()
	}
	return done, nil
}

// admitProbe lets a probe through when the host fails and no other probe is
// under way. How it went is for settle, with done.
func (h *host) admitProbe() (done func(error), due bool) {
	if !h.failing() {
		return nil, false
	}
	done, err := h.breaker.Allow()
	return done, err == nil
}

// settle tells the breaker how a request went that was admitted with done.
func (h *host) settle(done func(error), failed error) {
	if failed != nil && !errors.Is(failed, errLeft) {
		h.cause.Store(&failed)
	}
	done(failed)
}

// changed is called by the breaker, under its lock.
func (h *host) changed(from, to gobreaker.State) {
	switch {
	case from == gobreaker.StateClosed:
		h.failures.Store(hostFailures)
		h.Opened(h.ping.Host, *h.cause.Load())
	case to == gobreaker.StateOpen: // the probe failed
		h.failures.Add(1)
	case to == gobreaker.StateClosed:
		h.Closed(h.ping.Host)
	}
}

// errOpen marks what was refused without asking the host.
var errOpen = errors.New("the host is not asked")

// refusal makes the error of a request that is not sent.
func (h *host) refusal() error {
	return &oci.Error{
		Code: oci.Unavailable,
		Message: fmt.Sprintf("%s: its host %s has failed %d times in a row, the last time: %v; until it answers again nothing is sent to it but a probe every %s",
			h.Name, h.ping.Host, h.failures.Load(), *h.cause.Load(), probeEvery),
		Err: errOpen,
	}
}
