package oci

import (
	"context"
	"net/netip"
)

// Client is who sends a request. The zero Client is unknown.
type Client struct {
	Address netip.Addr // of the client itself, without a zone; invalid when it is not known

	// Names are the identities that it has proved, such as user:alice or
	// cert:CN=build-7; none for an anonymous client. The first one is for logs and
	// limits. The slice must not be changed.
	Names []string
}

// Name is the first of its Names, empty for an anonymous client.
func (c Client) Name() string {
	if len(c.Names) == 0 {
		return ""
	}
	return c.Names[0]
}

// Key returns what limits count as this client.
func (c Client) Key() ClientKey {
	if name := c.Name(); name != "" {
		return ClientKey{name: name}
	}
	const site = 64                                               // bits of an IPv6 address that a provider assigns to one customer
	network, _ := c.Address.Prefix(min(c.Address.BitLen(), site)) // zero for an unknown client
	return ClientKey{network: network}
}

// ClientKey is what counts as one client: an identity, or else the network in whose
// granularity upstreams count clients, which is one IPv4 address or the /64 of an IPv6
// address. It is comparable; the zero ClientKey is that of the unknown client.
type ClientKey struct {
	name    string
	network netip.Prefix
}

// String returns the identity, the address, or the IPv6 network.
func (k ClientKey) String() string {
	switch {
	case k.name != "":
		return k.name
	case k.network.IsSingleIP():
		return k.network.Addr().String()
	}
	return k.network.String()
}

type clientKey struct{}

// WithClient returns a context for requests made on behalf of c.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientOf returns the client that WithClient has set, or the unknown one.
func ClientOf(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}
