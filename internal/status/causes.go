package status

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"syscall"

	"mirrord/internal/oci"
)

// cause is a kind of error, and what to do about it.
type cause struct {
	summary string // in a few words, without a name
	advice  string
	minor   bool // the client asked for what does not exist
}

var (
	causeMissing = &cause{"not found", "Check the name and the tag. If the image is private, give the mirror a login that may pull it.", true}
	causeDenied  = &cause{"denied", "Check the name. If the image is private, give the mirror a login that may pull it, and see access.private; if a rule of this mirror is named, see access.rules.", false}
	causeLogin   = &cause{"login refused", "Replace the password file of the credential with a valid password or token: it is read again at once.", false}
	causeOffline = &cause{"offline", "The mirror is offline and does not have it. Set offline: false, and run mirrord warm for it.", false}
	causeLoop    = &cause{"loop", "The mirror is its own upstream. Check the urls under upstreams.", false}
	causeDisk    = &cause{"disk full", "Free space on the file system of the cache, or lower cache.max_size.", false}
	causeName    = &cause{"host not found", "Check the DNS of the mirror's host, and the url of the upstream.", false}
	causeTLS     = &cause{"certificate refused", "Something between the mirror and the registry may present its own certificate: name its CA with ca_file, or set the clock of this host.", false}
	causeTimeout = &cause{"no response in time", "Check the network from the mirror's host: curl -sI https://REGISTRY/v2/ gets 200 or 401 when all is well. Otherwise wait.", false}
	causeRefused = &cause{"connection refused", "Check the url of the upstream, proxies and firewalls from the mirror's host: curl -sI https://REGISTRY/v2/ gets 200 or 401 when all is well.", false}
	causeBroken  = &cause{"unavailable", "The registry, or something on the way to it, fails. Look at its status page; curl -sI https://REGISTRY/v2/ from the mirror's host gets 200 or 401 when all is well. Cached images are still served.", false}
	causeCut     = &cause{"invalid content", "The upstream, or a proxy on the way to it, sent wrong bytes or none. Nothing was cached; the client asks again. If it continues, look at the proxy.", false}
)

var causesOfLimits = map[oci.LimitKind]*cause{
	oci.LimitPulls:    {"pull limit reached", "Give the mirror a login with a higher limit, or wait: mirrord quota says until when. Cached images are still served.", false},
	oci.LimitReserve:  {"last pulls reserved", "Wait for the end of the window, give the mirror a login with a higher limit, or lower quota.reserve.", false},
	oci.LimitRequests: {"request limit reached", "Wait. Find out who else sends requests to the registry from this address.", false},
	oci.LimitClient:   {"client's share used up", "Find out what the client pulls; raise quota.per_client if that is legitimate.", false},
	oci.LimitInFlight: {"client at its limit", "Find out which client it is; raise clients.max_requests if it is a proxy or a NAT.", false},
	oci.LimitRate:     {"client at its limit", "Find out which client it is; raise clients.requests_per_second if that is legitimate.", false},
	oci.LimitLogins:   {"too many failed logins", "Find the client with the old password and give it the new one.", false},
}

// causeOf returns the cause of err, nil for one that is only the client's mistake.
func causeOf(err error) *cause {
	var limit *oci.LimitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit):
		return causesOfLimits[limit.Kind]
	case errors.Is(err, oci.ErrOffline):
		return causeOffline
	case errors.Is(err, oci.ErrLogin):
		return causeLogin
	case errors.Is(err, oci.ErrLoop):
		return causeLoop
	case oci.IsUnknown(err):
		return causeMissing
	case oci.CodeOf(err) == oci.Denied:
		return causeDenied
	case !oci.Temporary(err):
		return nil
	}
	return causeOfOutage(err)
}

// causeOfOutage returns why content that may exist was unavailable.
func causeOfOutage(err error) *cause {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return causeDisk
	case errors.As(err, &name):
		return causeName
	case errors.As(err, &certificate), errors.As(err, &authority):
		return causeTLS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return causeTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return causeRefused
	case errors.Is(err, oci.ErrUnusable), errors.Is(err, oci.ErrCorrupt):
		return causeCut
	}
	return causeBroken
}
