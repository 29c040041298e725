package oci

import (
	"context"
	"net"
	"net/netip"
)

type clientKey struct{}

// WithClient tells who is behind the requests that are made with the context:
// the remote end of a connection.
func WithClient(ctx context.Context, remote net.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, remote)
}

// ClientOf returns whom WithClient told, as upstreams count clients: one IPv4
// address, or the /64 that an IPv6 address is in. It is false for nobody, or
// nobody on a network.
func ClientOf(ctx context.Context) (netip.Prefix, bool) {
	remote, ok := ctx.Value(clientKey{}).(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	const site = 64 // bits of an IPv6 address that a provider gives to one customer
	address := remote.AddrPort().Addr().Unmap().WithZone("")
	prefix, err := address.Prefix(min(address.BitLen(), site))
	return prefix, err == nil
}
