package access

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"unicode"
)

const (
	maxNames      = 64  // of one certificate
	maxNameLength = 512 // bytes
)

// certificateNames returns the identities of the verified certificate of a connection,
// its common name first.
func certificateNames(state *tls.ConnectionState) []string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	return namesOf(state.VerifiedChains[0][0])
}

func namesOf(c *x509.Certificate) []string {
	var names []string
	add := func(prefix string, values ...string) {
		for _, value := range values {
			if usableName(value) && len(names) < maxNames {
				names = append(names, "cert:"+prefix+value)
			}
		}
	}
	add("CN=", c.Subject.CommonName)
	add("dns:", c.DNSNames...)
	add("email:", c.EmailAddresses...)
	for _, uri := range c.URIs {
		add("uri:", uri.String())
	}
	return names
}

// usableName reports whether a name can be an identity, which appears in logs.
func usableName(s string) bool {
	return s != "" && len(s) <= maxNameLength && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
