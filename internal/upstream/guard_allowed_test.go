package upstream

import (
	"net/netip"
	"net/url"
	"testing"
)

// An operator allows private networks, and nothing else.
func TestAllowedNetworks(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("https://1.1.1.1")
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u, PrivateNetworks: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	}})
	for to, want := range map[string]bool{
		"http://10.1.2.3/": true, "http://10.2.0.1/": false, "http://127.0.0.1/": true, "http://[::ffff:10.1.2.3]/": true, "http://192.168.0.1/": false,
		"http://169.254.169.254/": false, "http://100.100.100.200/": false, "http://100.64.1.1/": true,
	} {
		address, err := url.Parse(to)
		check(t, err)
		if err := transport.guard.checkLiteral(address); (err == nil) != want {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
}
