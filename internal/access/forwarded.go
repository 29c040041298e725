package access

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress returns the address of the client itself: that of the connection, or,
// if it is a trusted proxy's, the one that Forwarded or X-Forwarded-For name. A proxy
// passes on what it does not write itself, so where both headers are there they must
// agree. Invalid ones are ignored.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, ok := parseNode(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	if _, isProxy := find(trusted, peer); !isProxy {
		return peer
	}
	standard, hasStandard := forwardedClient(r.Header.Values("Forwarded"), forwardedFor, trusted)
	common, hasCommon := forwardedClient(r.Header.Values("X-Forwarded-For"), parseNode, trusted)
	switch {
	case hasStandard && (!hasCommon || common == standard) && standard.IsValid():
		return standard
	case hasCommon && !hasStandard && common.IsValid():
		return common
	}
	return peer
}

// forwardedClient returns the rightmost address that is not a trusted proxy's, or the
// leftmost if all are. What is to the left of it comes from the client and is not even
// parsed: nothing that a client writes there makes the header invalid. An invalid
// header has the zero address; false means that there is none.
//
// A comma always separates, also between quotes: an open quote from a client must not
// hide what the proxy has appended.
func forwardedClient(lines []string, parse func(string) (netip.Addr, bool), trusted []netip.Prefix) (client netip.Addr, found bool) {
	rest := strings.Join(lines, ",")
	if rest == "" {
		return client, false
	}
	for rest != "" {
		i := strings.LastIndexByte(rest, ',')
		address, ok := parse(strings.TrimSpace(rest[i+1:]))
		if !ok {
			return netip.Addr{}, true
		}
		client = address
		if _, isProxy := find(trusted, client); !isProxy {
			break
		}
		rest = rest[:max(0, i)]
	}
	return client, true
}

// forwardedFor returns the address of one element of Forwarded, such as
// for="[2001:db8::1]:4711";proto=https (RFC 7239).
func forwardedFor(element string) (address netip.Addr, found bool) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if quoted, ok := strings.CutPrefix(value, `"`); ok {
			if value, ok = strings.CutSuffix(quoted, `"`); !ok {
				return netip.Addr{}, false
			}
		}
		if found {
			return netip.Addr{}, false
		}
		if address, found = parseNode(value); !found {
			return netip.Addr{}, false
		}
	}
	return address, found
}

// parseNode accepts an address, with or without a port.
func parseNode(s string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var both netip.AddrPort
		if both, err = netip.ParseAddrPort(s); err == nil {
			address = both.Addr()
		}
	}
	return address.Unmap().WithZone(""), err == nil
}
