package oci

import (
	"net/netip"
	"testing"
)

// An anonymous client is an IPv4 address or an IPv6 site, a /64.
func TestClientKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1":              "fe80::/64",
	} {
		client := ClientOf(WithClient(t.Context(), Client{Address: netip.MustParseAddr(address)}))
		if got := client.Key(); got == (ClientKey{}) || got.String() != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		client.Names = []string{"user:alice", "cert:CN=alice"}
		if got := client.Key(); got.String() != "user:alice" || got != (Client{Names: client.Names}).Key() {
			t.Errorf("with an identity %s is %s", address, got)
		}
	}
	if got := ClientOf(t.Context()); got.Key() != (ClientKey{}) {
		t.Errorf("a context without a client has %v", got)
	}
}
