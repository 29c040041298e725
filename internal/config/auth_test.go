package config

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAuth(t *testing.T) {
	c, err := read([]byte(`
clients: {allow: [10.1.2.3/8, 192.0.2.7, '2001:db8::1/32'], deny: 10.9.0.0/16, trusted_proxies: ['::1']}
listeners:
  - address: :1
    auth: {htpasswd: /h}
    proxy_protocol: true
  - address: :2
    tls: {cert_file: /c, key_file: /k, client_ca_file: /ca}
    auth:
      tokens: /t
      client_certificates: true
      jwt:
        - {issuer: 'https://gitlab.example', audience: https://mirror, ca_file: /ca, jwks_url: 'http://localhost:1/keys'}
        - {issuer: 'https://token.actions.githubusercontent.com', audience: m, subjects: ['repo:acme/*', 'repo:b/c:*']}
  - :3
upstreams: [docker.io]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{
		{Address: ":1", Auth: Auth{Htpasswd: "/h"}, ProxyProtocol: true},
		{Address: ":2", TLS: TLS{"/c", "/k", "/ca"}, Auth: Auth{Tokens: "/t", ClientCertificates: true, JWT: []Issuer{
			{Issuer: "https://gitlab.example", Audience: "https://mirror", JWKSURL: "http://localhost:1/keys", CAFile: "/ca"},
			{Issuer: "https://token.actions.githubusercontent.com", Audience: "m", Subjects: []string{"repo:acme/*", "repo:b/c:*"}},
		}}},
		{Address: ":3"},
	}
	if diff := cmp.Diff(want, c.Listeners); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(c.Clients.Allow, []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"}) || !slices.Equal(c.Clients.Deny, []string{"10.9.0.0/16"}) || !slices.Equal(c.Clients.TrustedProxies, []string{"::1/128"}) {
		t.Errorf("clients: %+v", c.Clients)
	}
	for i, want := range []struct{ open, login bool }{{false, true}, {false, true}, {true, false}} {
		if auth := c.Listeners[i].Auth; auth.IsOpen() != want.open || auth.HasLogin() != want.login {
			t.Errorf("listener %d: open %v, login %v", i, auth.IsOpen(), auth.HasLogin())
		}
	}
	roundTrip(t, c)
}

// Flags and variables give several networks.
func TestNetworkSources(t *testing.T) {
	c, err := load(t, "", []string{"MIRRORD_CLIENTS_DENY=10.0.0.0/8  192.0.2.1"}, "--clients-allow=10.1.0.0/16", "--clients-allow", "::1")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Clients.Allow, []string{"10.1.0.0/16", "::1/128"}) || !slices.Equal(c.Clients.Deny, []string{"10.0.0.0/8", "192.0.2.1/32"}) {
		t.Errorf("clients: %+v", c.Clients)
	}
	_, err = load(t, "", nil, "--clients-allow=10.1.0.0/16", "--clients-allow=office")
	wantProblems(t, err, `--clients-allow[1]: "office" is not a network; write for example 10.1.0.0/16 or 192.0.2.7`)
	c, err = load(t, "", nil, "--clients-deny=::ffff:192.0.2.0/120", "--clients-deny=::ffff:10.0.0.1")
	if err != nil || !slices.Equal(c.Clients.Deny, []string{"192.0.2.0/24", "10.0.0.1/32"}) {
		t.Errorf("IPv4 as IPv6: %v, %v", c, err)
	}
	_, err = load(t, "", nil, "--clients-deny=::ffff:0:0/95", "--clients-trusted-proxies=::ffff:0:0/96")
	wantProblems(t, err, `--clients-deny[0]: "::ffff:0:0/95" is not a network; write for example 10.1.0.0/16 or 192.0.2.7`,
		`--clients-trusted-proxies[0]: "::ffff:0:0/96" is everybody, who could then name any other client; write the addresses of the proxies`)
	_, err = load(t, "", nil, "--clients-allow=0.0.0.0/0", "--clients-trusted-proxies=::/0")
	wantProblems(t, err, `--clients-trusted-proxies[0]: "::/0" is everybody, who could then name any other client; write the addresses of the proxies`)
}

func TestAuthProblems(t *testing.T) {
	const issuer = "is not the URL of an issuer; write https and a host, such as https://gitlab.example, without a user, query or fragment"
	for yaml, want := range map[string]string{
		"auth: {}":                                                         "mirrord.yaml:1:35: listeners[0].auth: has no method; write one of htpasswd, tokens, client_certificates and jwt, or remove auth to let everybody in",
		"auth: ":                                                           "mirrord.yaml:1:34: listeners[0].auth: has no method; write one of htpasswd, tokens, client_certificates and jwt, or remove auth to let everybody in",
		"auth: {client_certificates: false}":                               "mirrord.yaml:1:35: listeners[0].auth: has no method; write one of htpasswd, tokens, client_certificates and jwt, or remove auth to let everybody in",
		"auth: {client_certificates: true}":                                "mirrord.yaml:1:13: listeners[0]: has client_certificates, but no authority that signs them; write it as client_ca_file in tls",
		"proxy_protocol: true":                                             "mirrord.yaml:1:12: listeners: listeners[0] has proxy_protocol, but there is no proxy to accept it from; write its address as clients.trusted_proxies",
		"auth: {htpassword: /h}":                                           `mirrord.yaml:1:36: unknown key "listeners[0].auth.htpassword"; did you mean "listeners[0].auth.htpasswd"?`,
		"auth: {jwt: [{issuer: 'https://a'}]}":                             "mirrord.yaml:1:42: listeners[0].auth.jwt[0]: has no audience; write what tokens for this mirror name as theirs, such as the mirror's own URL",
		"auth: {jwt: [{audience: a}]}":                                     "mirrord.yaml:1:42: listeners[0].auth.jwt[0]: has no issuer; write the URL that its tokens name, such as https://gitlab.example",
		"auth: {jwt: [{audience: a, issuer: 'http://a'}]}":                 "mirrord.yaml:1:64: listeners[0].auth.jwt[0].issuer: " + issuer,
		"auth: {jwt: [{audience: a, issuer: 'https://u:p@a'}]}":            "mirrord.yaml:1:64: listeners[0].auth.jwt[0].issuer: " + issuer,
		"auth: {jwt: [{audience: a, issuer: 'https://gitlab.com'}]}":       "mirrord.yaml:1:42: listeners[0].auth.jwt[0]: has no subjects, and https://gitlab.com gives a token to everybody; write whose you accept, such as repo:ORGANIZATION/* or project_path:GROUP/*",
		"auth: {jwt: [{audience: a, issuer: 'https://a', subjects: '['}]}": `mirrord.yaml:1:87: listeners[0].auth.jwt[0].subjects: "[" is not a pattern of subjects; write for example repo:acme/*`,
	} {
		_, err := read([]byte("listeners: [{address: ':1', " + yaml + "}]\n"))
		if err == nil {
			t.Errorf("%s: no problem", yaml)
			continue
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", yaml, diff)
		}
	}
}
