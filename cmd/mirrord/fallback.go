package main

import (
	"net/url"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/login"
	"mirrord/internal/stack"
	"mirrord/internal/telemetry"
	"mirrord/internal/tracing"
	"mirrord/internal/upstream"
)

// failoverTimeout is the response timeout of an upstream with fallbacks, unless one is
// configured: clients wait 30 s for all of them.
const failoverTimeout = 5 * time.Second

// newFallback returns a fallback of u. A fallback of the same owner gets the upstream's
// logins, token services and TLS settings, another one only the login that Docker's
// configuration has for its own host.
func newFallback(u config.Upstream, of stack.Upstream, text string, transport network, metrics *telemetry.Metrics, tracer *tracing.Tracer) (stack.Fallback, error) {
	address, err := url.Parse(text)
	if err != nil {
		return stack.Fallback{}, err
	}
	if upstream.SameSite(of.URL.Hostname(), address.Hostname()) {
		return stack.Fallback{URL: address, Transport: transport(address), Credentials: of.Credentials, TokenHosts: of.TokenHosts}, nil
	}
	strange := config.Upstream{Name: u.Name, Proxy: u.Proxy, ConnectTimeout: u.ConnectTimeout, ResponseTimeout: u.ResponseTimeout, Bandwidth: u.Bandwidth}
	if transport, err = newNetwork(strange, metrics, tracer); err != nil {
		return stack.Fallback{}, err
	}
	return stack.Fallback{
		URL: address, Transport: transport(address),
		Credentials: []stack.Credential{{Name: defaultCredential, Login: login.Default(address.Host)}},
	}, nil
}
