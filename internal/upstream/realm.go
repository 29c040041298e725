package upstream

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/net/publicsuffix"
)

// sharedDomains are registrable domains below which anybody can have a registry.
var sharedDomains = []string{
	"aliyuncs.com", "amazonaws.com", "amazonaws.com.cn", "azurecr.cn", "azurecr.io", "azurecr.us", "cluster.local", "gcr.io", "jfrog.io",
	"myhuaweicloud.com", "ocir.io", "on.aws", "pkg.dev", "tencentcloudcr.com",
}

// checkRealm refuses a token service that the upstream must not name, because the
// login would be sent there. It must use https, or http if the upstream does, and be
// the upstream itself or one of hosts, which are host or host:port. Without hosts it
// may be anywhere in the upstream's registrable domain, unless others share that.
func checkRealm(upstream *url.URL, hosts []string, realm string) error {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" {
		return fmt.Errorf("its token service has an invalid URL: %q", realm)
	}
	if u.Scheme != "https" && u.Scheme != upstream.Scheme {
		return fmt.Errorf("its token service %s does not use https", u.Host)
	}
	switch {
	case u.Hostname() == upstream.Hostname(), slices.Contains(hosts, u.Host), slices.Contains(hosts, u.Hostname()):
		return nil
	case len(hosts) == 0 && sameSite(upstream.Hostname(), u.Hostname()):
		return nil
	}
	return fmt.Errorf("its token service %s does not belong to %s (if it does, list it under token_hosts)", u.Host, upstream.Host)
}

// SameSite reports whether two hosts belong to one owner: they are in the same
// registrable domain, and others have no registries there.
func SameSite(a, b string) bool { return a == b || sameSite(a, b) }

func sameSite(a, b string) bool {
	if net.ParseIP(a) != nil || net.ParseIP(b) != nil {
		return false
	}
	siteA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	siteB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && siteA == siteB && !slices.Contains(sharedDomains, siteA)
}

// tokenService is the transport to a token service. The login is sent only to hosts
// where a realm may be, whatever redirects say; a 401 or 403 becomes a *denial.
type tokenService struct {
	check func(realm string) error
	next  http.RoundTripper
}

func (s tokenService) RoundTrip(req *http.Request) (*http.Response, error) {
	// The POST of an identity token has it in the body, which net/http sends
	// again after a 307.
	if req.Body != nil || req.Header.Get("Authorization") != "" {
		if err := s.check(req.URL.String()); err != nil {
			return nil, err
		}
	}
	resp, err := s.next.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return resp, err
	}
	refused := readRefusal(resp)
	if len(refused.codes) == 0 && !refused.html {
		refused.message = "" // it may hold a token
	}
	return nil, &denial{refused}
}

// denial is a refusal as an error: of a scope or a login by the token service, or of
// a request for /v2/ by the registry.
type denial struct{ *refusal }

func (d *denial) Error() string { return "it responded with " + d.status + d.message }
