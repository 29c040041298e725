package oci

import (
	"testing"
	"time"
)

// The message says in one sentence what is limited, until when and what to do.
func TestLimitError(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	known := LimitError{Upstream: "docker.io", Limit: 100, Window: 6 * time.Hour, ResetBy: at.Add(time.Hour), RetryAt: at, Message: "enough"}
	unknown := LimitError{Upstream: "docker.io", RetryAt: at, Message: "enough"}
	of := func(e LimitError, kind LimitKind, client string) *LimitError {
		e.Kind, e.Client = kind, client
		return &e
	}
	for want, e := range map[string]*LimitError{
		"docker.io limits pulls (100 in 6h0m0s) until 2026-11-24T09:00:00Z at the latest: enough (wait, or give the mirror a login with a higher limit)":                                                                            of(known, LimitPulls, ""),
		"docker.io limits pulls until 2026-11-24T08:00:00Z: enough (wait, or give the mirror a login with a higher limit)":                                                                                                          of(unknown, LimitPulls, ""),
		"docker.io limits requests until 2026-11-24T08:00:00Z: enough (wait: this limit counts requests by address, with or without a login)":                                                                                       of(unknown, LimitRequests, ""),
		"the last pulls from docker.io (100 in 6h0m0s) are reserved for images that were never pulled before, until 2026-11-24T09:00:00Z at the latest (wait, or give the mirror a login with a higher limit)":                      of(known, LimitReserve, ""),
		"client 192.0.2.7 has used up its share of the pulls from docker.io (100 in 6h0m0s): the next one is allowed at 2026-11-24T08:00:00Z; cached content is still served (wait, or ask the operator to raise quota.per_client)": of(known, LimitClient, "192.0.2.7"),
		"client 192.0.2.7 sends more than 100 requests a second (slow down, or ask the operator to raise clients.requests_per_second)":                                                                                              of(known, LimitRate, "192.0.2.7"),
	} {
		if got := e.Error(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
