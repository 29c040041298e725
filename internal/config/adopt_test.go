package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the daemon adopts while it runs, and what needs a restart: every setting is one or
// the other.
func TestAdopt(t *testing.T) {
	old, err := read([]byte("upstreams: [docker.io, {name: a, url: 'http://a'}]\nlisteners: [{address: ':6000', tls: {cert_file: /c, key_file: /k}, auth: {htpasswd: /u}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := read([]byte(`
listen: 127.0.0.1:6001
listeners: [{address: ':6000', tls: {cert_file: /other, key_file: /k}, auth: {htpasswd: /users}}]
admin: {listen: '127.0.0.1:6002', socket: /s, token_file: /t}
metrics: {listen: ':6003'}
cache: {dir: /d, max_size: 1GiB, min_free: 1GiB, max_pinned: 1GiB, max_fills: 1, scrub: 1h}
clients: {max_requests: 1, requests_per_second: 1, max_connections: 1, bandwidth: 1MiB, total_bandwidth: 2MiB, catalog: true, allow: 10.0.0.0/8, deny: 10.0.0.1, trusted_proxies: 10.0.0.2}
access: {private: rules, rules: [{allow: true}], audit_log: /a}
tags: {fresh: 2m, rules: [{match: a, fresh: 1h}], stale_while_revalidate: 1m, max_stale: 1h, max_silence: 1s}
quota: {reserve: 1, probe: 1h, per_client: 1}
status: {clients: false}
warm: {lists: [{name: a, file: /l, schedule: '@daily'}]}
offline: true
upstreams: [{name: docker.io, url: 'http://other', username: u, password_file: /p}, {name: a, url: 'http://a', tag_rules: [{match: a, fresh: 1h}]}]
log: {level: debug, access: errors, access_sample: 2, format: console}
`))
	if err != nil {
		t.Fatal(err)
	}
	adopted := old.Adopt(other)
	if diff := cmp.Diff([]string{
		"listen", "listeners", "admin.listen", "admin.socket", "admin.token_file", "metrics.listen", "cache.dir", "clients.max_connections", "clients.trusted_proxies",
		"access.audit_log", "upstreams", "log.format",
	}, adopted.Diff(other)); diff != "" {
		t.Errorf("needs a restart (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"listeners", "cache.max_size", "cache.min_free", "cache.max_pinned", "cache.max_fills", "cache.scrub", "clients.max_requests", "clients.requests_per_second",
		"clients.bandwidth", "clients.total_bandwidth", "clients.catalog", "clients.allow", "clients.deny", "access.private", "access.rules",
		"tags.fresh", "tags.rules", "tags.stale_while_revalidate", "tags.max_stale", "tags.max_silence",
		"quota.reserve", "quota.probe", "quota.per_client", "status.clients", "warm.lists", "offline", "upstreams", "log.level", "log.access", "log.access_sample",
	}, old.Diff(adopted)); diff != "" {
		t.Errorf("takes effect (-want +got):\n%s", diff)
	}
	if u := adopted.Upstreams; u[0].URL != old.Upstreams[0].URL || len(u[0].Credentials) != 1 || len(u[1].TagRules) != 1 {
		t.Errorf("%+v", u)
	}
	if l := adopted.Listeners[0]; l.TLS != old.Listeners[0].TLS || l.Auth.Htpasswd != "/users" {
		t.Errorf("%+v", l)
	}
	if len(old.Diff(old.Adopt(old))) != 0 {
		t.Error("a configuration differs from itself")
	}
}

// A listener whose TLS asks for other certificates needs a restart.
func TestAdoptKeepsCertificates(t *testing.T) {
	old, other := &Config{Listeners: []Listener{{Address: ":1"}}}, &Config{Listeners: []Listener{{Address: ":1", Auth: Auth{Htpasswd: "/u"}}}}
	if got := old.Adopt(other).Listeners[0]; !got.Auth.IsOpen() {
		t.Errorf("%+v", got)
	}
}
