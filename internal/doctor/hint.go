package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// hintMTU is for a way on which small packets arrive and full ones do not.
const hintMTU = "small packets arrive, and full-size ones may not: try a smaller MTU at this host (ip link set dev eth0 mtu 1400), as VPNs, tunnels and clouds need it, and let ICMP through the firewall"

// hint says what to do about a request that got no response; other is for an error that is
// not known.
func (r *reached) hint(err error, other string) string {
	switch {
	case isTimeout(err) && r.securing.Load() && !r.secured.Load():
		return "the connection is there, and the certificate, the first large packets, does not arrive: " + hintMTU
	case isTimeout(err) && !r.connected.Load():
		return hintConnection
	}
	return hintOn(err, other)
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

// hintNotSent is for a request that the mirror itself has held back.
const hintNotSent = "nothing was sent: see what is said of the hosts and limits of this upstream"

const hintConnection = "no connection: check the port in url, the firewall, and whether this network needs the setting proxy"

func hintOn(err error, other string) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case errors.As(err, &dns):
		return "the name is not resolved: check url, and the DNS of this host, /etc/resolv.conf"
	case errors.As(err, &certificate):
		return "the certificate is not trusted: set ca_file of the upstream to that of its authority or of the proxy that intercepts TLS; check the clock"
	case errors.As(err, &dial) && dial.Op == "dial":
		return hintConnection
	case isTimeout(err):
		return "check the firewall and the proxy, the status page of the registry, and the MTU of the way if small responses arrive and large ones do not"
	}
	return other
}

// isTimeout reports whether err is that a time is over.
func isTimeout(err error) bool {
	var timed interface{ Timeout() bool }
	return errors.As(err, &timed) && timed.Timeout()
}
