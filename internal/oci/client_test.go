package oci

import (
	"net"
	"testing"
)

// A client is an IPv4 address or an IPv6 site, a /64.
func TestClientOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1234":              "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1234":     "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1234":         "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := ClientOf(WithClient(t.Context(), a))
		if !ok || got.String() != want {
			t.Errorf("%s: %s, %v; want %s", address, got, ok, want)
		}
	}
	if got, ok := ClientOf(t.Context()); ok {
		t.Errorf("a context without a client has %s", got)
	}
}
