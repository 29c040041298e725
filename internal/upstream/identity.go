package upstream

import (
	"context"
	"crypto/tls"
	"net/url"
)

// dialledKey is the context key of the URL that a connection is opened for.
type dialledKey struct{}

func withDialled(ctx context.Context, u *url.URL) context.Context {
	return context.WithValue(ctx, dialledKey{}, u)
}

// identifying returns the TLS settings with which the mirror identifies itself where a
// login may be sent, and nowhere else: a redirect must not lead it into a service that
// trusts its certificate.
func identifying(o TransportOptions) *tls.Config {
	if o.ClientCertificate == nil {
		return o.TLS
	}
	c := o.TLS.Clone()
	c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		to, ok := asked.Context().Value(dialledKey{}).(*url.URL)
		if !ok || checkRealm(o.URL, o.TokenHosts, to.String()) != nil {
			return new(tls.Certificate), nil
		}
		return o.ClientCertificate()
	}
	return c
}
