// Package doctor checks what a mirror needs from its surroundings, and says what to do
// about each thing that is wrong.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// A State is the result of a Check.
type State string

// The states, the worst last.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "fail"
)

// Check is one thing that was checked.
type Check struct {
	State  State  `json:"state"`
	What   string `json:"what"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do; empty when State is OK
}

const (
	pingTimeout = 10 * time.Second
	maxSkew     = 30 * time.Second
)

// Upstream sends one GET of /v2/ to an upstream, which no pull limit counts, without a
// login. It checks the response, and the clock of this host against that of the upstream
// if it responds. It takes ten seconds at most.
func Upstream(ctx context.Context, name string, address *url.URL, transport http.RoundTripper) []Check {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	what := "upstream " + name
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath("v2/").String(), http.NoBody)
	if err != nil {
		return []Check{{Fail, what, err.Error(), "correct its url"}}
	}
	req.Header.Set("User-Agent", "mirrord")
	sent := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return []Check{{Fail, what, err.Error(), adviceOn(err)}}
	}
	defer func() { _ = resp.Body.Close() }()
	return append([]Check{ping(what, resp, time.Since(sent))}, clock(name, resp.Header, time.Now())...)
}

// ping is the check of a response to a GET of /v2/.
func ping(what string, resp *http.Response, took time.Duration) Check {
	detail := fmt.Sprintf("%s responds %s after %s", resp.Request.URL.Host, resp.Status, took.Round(time.Millisecond))
	switch {
	case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusUnauthorized:
		return Check{OK, what, detail, ""}
	case resp.StatusCode == http.StatusTooManyRequests:
		return Check{Warn, what, detail, "it limits the requests of this network: wait, and see what else sends requests from here"}
	case resp.StatusCode >= http.StatusInternalServerError:
		return Check{Fail, what, detail, "the registry or a proxy on the way to it is down: see its status page, and the setting proxy of the upstream"}
	}
	return Check{Warn, what, detail, "a registry responds 200 or 401 to /v2/: check that url is that of a registry, and that no filter or login page is on the way"}
}

// clock compares the time of this host with the Date of a response. Without one there is
// no check.
func clock(name string, header http.Header, now time.Time) []Check {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return nil
	}
	skew := now.Sub(date).Round(time.Second)
	detail := fmt.Sprintf("%s from that of %s", skew.Abs(), name)
	if skew.Abs() > maxSkew {
		return []Check{{Warn, "clock", detail, "set this host's clock, by NTP: certificates and tokens seem expired or not yet valid otherwise"}}
	}
	return []Check{{OK, "clock", detail, ""}}
}

// adviceOn says what to do about a request that got no response.
func adviceOn(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return "the name is not resolved: check url, and the DNS of this host, /etc/resolv.conf"
	case errors.As(err, &certificate):
		return "the certificate is not trusted: set ca_file of the upstream to that of its authority or of the proxy that intercepts TLS; check the clock"
	case errors.Is(err, context.DeadlineExceeded):
		return "nothing came back in time: check the firewall, the proxy, and the MTU of the way if small responses arrive and large ones do not"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "no connection: check the port in url, the firewall, and whether this network needs the setting proxy"
	}
	return "check url, its scheme, and what is on the way: firewall, proxy"
}
