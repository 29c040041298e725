package admin

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps web pages from the admin API, whose port a browser on this host can
// reach: those of other sites, whose requests a browser marks with Sec-Fetch-Site
// or Origin, and those whose own name has been made to resolve to this address (DNS
// rebinding), for which a request is of the same site. Such a name is in Host.
func guard(next http.Handler, listen string) http.Handler {
	var sites http.CrossOriginProtection // its zero value trusts no other origin
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		acting := acts(r)
		if (acting || onLoopback(r)) && !isOwnName(r.Host, listen) {
			writeError(w, refuse(http.StatusForbidden, errors.New("ask for this by an IP address, as localhost, or by the name in admin.listen")))
			return
		}
		asked := *r
		if acting || !isForLinks(r) {
			asked.Method = http.MethodPost // Check lets safe methods pass
		}
		if err := sites.Check(&asked); err != nil {
			writeError(w, refuse(http.StatusForbidden, err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// acts reports whether r changes something, or costs time and memory as a profile does.
func acts(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || strings.HasPrefix(r.URL.Path, "/debug/")
}

// isForLinks reports whether a page of another site may link to what r asks for: the status
// page, metrics and health. All else is for programs, asks the upstreams, or lasts.
func isForLinks(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/v1/") && r.URL.Path != "/quota" && r.URL.Path != "/verify"
}

// isOwnName reports whether host, a Host header, is a name that no foreign DNS
// server answers for. listen is where the API is served.
func isOwnName(host, listen string) bool {
	name, own := hostname(host), hostname(listen)
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil || name == "localhost" || strings.HasSuffix(name, ".localhost") || name != "" && name == own
}

// hostname is the host of a host:port, or of a host alone.
func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return strings.ToLower(strings.TrimSuffix(address, "."))
}

// onLoopback reports whether r has come in where only this host can connect: no
// scraper elsewhere knows it by a name.
func onLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.IP.IsLoopback()
}
