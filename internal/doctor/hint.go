package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// What to do, by where a request ended.
const (
	hintConnection = "no connection: check the port in url, the firewall, and whether this network needs the setting proxy"
	hintMTU        = "small packets arrive, and full-size ones may not: VPNs, tunnels and some clouds need a smaller MTU at this host (try ip link set dev eth0 mtu 1400), and firewalls must let ICMP through"
	hintHandshake  = "TCP connects, and the TLS handshake stops where the certificate would come, in the first full-size packets: " + hintMTU
	hintTimeout    = "check the firewall and the proxy, the status page of the registry, and, if small responses arrive and large ones do not, the MTU of this network"
	hintName       = "the name is not resolved: check url, and the DNS of this host, /etc/resolv.conf"
	hintTrust      = "the certificate is not trusted: set ca_file of the upstream to that of its authority or of the proxy that intercepts TLS; check the clock"

	hintNotSent = "nothing was sent: see what is said of the hosts and limits of this upstream" // the mirror itself has held it back
)

// hint says what to do about a request that failed with err; other is for an error that is
// not known here.
func (r *reached) hint(err error, other string) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns), isTimeout(err) && r.resolving.Load():
		return hintName
	case isTimeout(err) && r.inHandshake():
		return hintHandshake
	case isTimeout(err) && !r.connected.Load():
		return hintConnection
	case errors.As(err, &certificate):
		return hintTrust
	case errors.As(err, &dial) && dial.Op == "dial":
		return hintConnection
	case isTimeout(err):
		return hintTimeout
	}
	return other
}

// detail returns err, with the host if that did not respond in time.
func (r *reached) detail(err error) string {
	host := r.address()
	switch {
	case !isTimeout(err) || host == "":
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return host + " does not respond in time"
	}
	return host + " does not respond in time: " + err.Error()
}

// isTimeout reports whether err is that a time is over.
func isTimeout(err error) bool {
	var timed interface{ Timeout() bool }
	return errors.As(err, &timed) && timed.Timeout()
}
