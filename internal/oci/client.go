package oci

import (
	"context"
	"net"
	"net/netip"
)

type clientKey struct{}

// WithClient returns a context for requests made on behalf of the client at
// remote, the remote end of its connection.
func WithClient(ctx context.Context, remote net.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, remote)
}

// ClientOf returns the client that WithClient has set, in the granularity in
// which upstreams count clients: one IPv4 address, or the /64 of an IPv6 address.
// It returns false when no client is set, or one that has no IP address.
func ClientOf(ctx context.Context) (netip.Prefix, bool) {
	remote, ok := ctx.Value(clientKey{}).(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	const site = 64 // bits of an IPv6 address that a provider assigns to one customer
	address := remote.AddrPort().Addr().Unmap().WithZone("")
	prefix, err := address.Prefix(min(address.BitLen(), site))
	return prefix, err == nil
}
