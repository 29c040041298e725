package access

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// withCertificate is a request over a connection with a verified certificate.
func withCertificate(c *x509.Certificate, also ...func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
		for _, set := range also {
			set(r)
		}
	}
}

func TestCertificateNames(t *testing.T) {
	full := &x509.Certificate{
		Subject: pkix.Name{CommonName: "build-7"}, DNSNames: []string{"build-7.example", ""}, EmailAddresses: []string{"build@example"},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/build"}},
	}
	if got, want := namesOf(full), []string{"cert:CN=build-7", "cert:dns:build-7.example", "cert:email:build@example", "cert:uri:spiffe://example/build"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := namesOf(&x509.Certificate{Subject: pkix.Name{CommonName: "a\nb"}, DNSNames: []string{strings.Repeat("a", maxNameLength+1)}}); got != nil {
		t.Errorf("unusable names: %v", got)
	}
	if got := namesOf(&x509.Certificate{DNSNames: slices.Repeat([]string{"a"}, 1000)}); len(got) != maxNames {
		t.Errorf("%d names", len(got))
	}
}

// A certificate is enough, and comes after the name of a credential; one that is not
// verified is nothing.
func TestCertificateLogin(t *testing.T) {
	w := newWorld(t)
	build := &x509.Certificate{Subject: pkix.Name{CommonName: "build-7"}}
	unverified := func(r *http.Request) { r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{build}} }
	only := w.auth(t, AuthOptions{ClientCertificates: true})
	both := w.auth(t, AuthOptions{ClientCertificates: true, Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	passwords := w.auth(t, AuthOptions{Htpasswd: w.write(t, "htpasswd", user(t, "alice", "wonder"))})
	for name, test := range map[string]struct {
		auth *Auth
		set  func(*http.Request)
		want []string
		code oci.Code
	}{
		"certificate":               {only, withCertificate(build), []string{"cert:CN=build-7"}, ""},
		"without names":             {only, withCertificate(&x509.Certificate{}), nil, oci.Denied},
		"unverified":                {only, unverified, nil, oci.Denied},
		"none":                      {only, func(*http.Request) {}, nil, oci.Denied},
		"a password instead":        {only, basic("alice", "wonder"), nil, oci.Denied},
		"an unknown credential":     {only, withCertificate(build, basic("a", "b")), []string{"cert:CN=build-7"}, ""},
		"either: certificate":       {both, withCertificate(build), []string{"cert:CN=build-7"}, ""},
		"either: password":          {both, basic("alice", "wonder"), []string{"user:alice"}, ""},
		"either: both":              {both, withCertificate(build, basic("alice", "wonder")), []string{"user:alice", "cert:CN=build-7"}, ""},
		"either: a wrong password":  {both, withCertificate(build, basic("alice", "x")), []string{"cert:CN=build-7"}, ""},
		"either: none":              {both, func(*http.Request) {}, nil, oci.Unauthorized},
		"certificates do not count": {passwords, withCertificate(build), nil, oci.Unauthorized},
	} {
		names, err := w.login(test.auth, home, test.set)
		if !slices.Equal(names, test.want) || err != nil && oci.CodeOf(err) != test.code || err == nil && test.code != "" {
			t.Errorf("%s: %v, %v", name, names, err)
		}
	}
}
