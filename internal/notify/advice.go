package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
)

// Advice says what a person can do about an event that was not delivered because of err.
func Advice(err error) string {
	var refused *refusal
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	var dial *net.OpError
	switch {
	case errors.As(err, &refused):
		return adviceOn(refused.status)
	case errors.As(err, new(fileError)):
		return "correct the file, which the mirror's user must be able to read; mirrord config check reads it, too"
	case errors.As(err, &name):
		return "the name is not resolved: check url, and the DNS of the mirror's host"
	case errors.As(err, &certificate):
		return "the certificate is not trusted: set ca_file of the webhook to that of its authority, check that url has a name that is in the certificate, and check the clock"
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return "what responds there does not speak TLS: check the port in url, or write http"
	case errors.Is(err, context.DeadlineExceeded):
		return "there was no response within ten seconds: check the receiver, the firewall and the proxy"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "no connection: check that the receiver runs, the port in url, and the firewall"
	}
	return "check url, its scheme, and what is on the way: firewall, proxy"
}

// adviceOn says what a person can do about a response that is not a success.
func adviceOn(status int) string {
	switch {
	case status/100 == 3:
		return "redirects are not followed: set url to the address that this one redirects to"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "it wants a login or a signature, or another one: see headers_file, secret_file and the receiver's own log"
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusMethodNotAllowed:
		return "no events are received there: check the path in url"
	case status == http.StatusProxyAuthRequired:
		return "the proxy wants a login: see HTTPS_PROXY, or NO_PROXY if the receiver needs none"
	case (&refusal{status: status}).temporary():
		return "the receiver fails, or too much is sent to it: see its own log. An event would be sent again later"
	}
	return "it does not take events as CloudEvents 1.0 in JSON: put something in between that rewrites them, see docs/notify.md, or see the receiver's own log"
}
