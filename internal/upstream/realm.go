package upstream

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// checkRealm refuses a token service that an upstream has no business naming:
// the login would go there. It must speak https, or http where the upstream
// does, and live at the upstream's registrable domain.
func checkRealm(upstream *url.URL, realm string) error {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" {
		return fmt.Errorf("its token service %q is no address", realm)
	}
	if u.Scheme != "https" && u.Scheme != upstream.Scheme {
		return fmt.Errorf("its token service %s does not speak https", u.Host)
	}
	if sameSite(upstream.Hostname(), u.Hostname()) {
		return nil
	}
	return fmt.Errorf("its token service %s does not belong to %s", u.Host, upstream.Host)
}

func sameSite(a, b string) bool {
	if a == b {
		return true
	}
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	siteA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	siteB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && siteA == siteB
}

// pinned sends the ping of a registry to where the registry really is: the
// library that makes it tries https first and knows no path before /v2/.
type pinned struct {
	base *url.URL
	next http.RoundTripper
}

func (p pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host == p.base.Host && req.URL.Path == "/v2/" {
		req = req.Clone(req.Context())
		req.URL.Scheme = p.base.Scheme
		req.URL.Path = strings.TrimSuffix(p.base.Path, "/") + "/v2/"
	}
	return p.next.RoundTrip(req)
}
