package ratelimit

import (
	"net"
	"net/netip"
	"slices"

	"mirrord/internal/oci"
)

// Connections limits how many connections each client may have open, before it has
// said who it is: by its address. Methods may be called concurrently.
type Connections struct {
	open    *count
	exempt  []netip.Prefix
	refused func(oci.ClientKey)
}

// NewConnections returns Connections that allows each client limit of them, 0 means no
// limit, and those in exempt, such as proxies that speak for many clients, any number.
// It calls refused for each that is one too many.
func NewConnections(limit int, exempt []netip.Prefix, refused func(client oci.ClientKey)) *Connections {
	return &Connections{open: newCount(limit), exempt: exempt, refused: refused}
}

// Open counts a connection from peer, unless it is one too many; the caller calls Close
// when it has ended.
func (c *Connections) Open(peer net.Addr) bool {
	client := c.client(peer)
	if c.open.add(client) {
		return true
	}
	c.refused(client)
	return false
}

// Close uncounts a connection that Open has counted.
func (c *Connections) Close(peer net.Addr) { c.open.remove(c.client(peer)) }

// client returns the key of peer, that of the unknown client if it is exempt.
func (c *Connections) client(peer net.Addr) oci.ClientKey {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return oci.ClientKey{}
	}
	address := tcp.AddrPort().Addr().Unmap().WithZone("")
	if slices.ContainsFunc(c.exempt, func(network netip.Prefix) bool { return network.Contains(address) }) {
		return oci.ClientKey{}
	}
	return oci.Client{Address: address}.Key()
}
