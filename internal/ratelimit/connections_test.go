package ratelimit

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mirrord/internal/oci"
)

func peerAt(address string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(address), Port: 1} }

// A client cannot exceed its connections, from whatever addresses of its network; this
// does not affect others, nor proxies, and one that ends frees its place.
func TestConnections(t *testing.T) {
	var refused []string
	c := NewConnections(2, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, func(client oci.ClientKey) { refused = append(refused, client.String()) })
	for _, step := range []struct {
		address string
		want    bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true},
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, {"2001:db8:0:1::1", true},
		{"10.1.1.1", true}, {"10.1.1.1", true}, {"10.1.1.1", true},
	} {
		if got := c.Open(peerAt(step.address)); got != step.want {
			t.Errorf("%s: %v", step.address, got)
		}
	}
	if diff := cmp.Diff([]string{"192.0.2.1", "2001:db8::/64"}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
	c.Close(peerAt("192.0.2.1"))
	if !c.Open(peerAt("192.0.2.1")) {
		t.Error("refused after one has ended")
	}
	for _, address := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::1", "2001:db8:0:1::1", "10.1.1.1"} {
		c.Close(peerAt(address))
	}
	if len(c.open.of) != 0 {
		t.Errorf("%d clients are remembered", len(c.open.of))
	}
}
