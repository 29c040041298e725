package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

// Where an upstream may lead, by where it is itself.
func TestMayReach(t *testing.T) {
	t.Parallel()
	var unknown netip.Addr
	at := netip.MustParseAddr
	for to, from := range map[string]string{ // p: public or not known, i: inside, s: this host, l: link
		"8.8.8.8": "pisl", "2606:4700::1": "pisl", "::ffff:8.8.8.8": "pisl", "172.32.0.1": "pisl", "100.128.0.1": "pisl",
		"10.1.2.3": "isl", "172.16.0.1": "isl", "192.168.1.1": "isl", "100.64.0.1": "isl", "fd00::1": "isl", "::ffff:10.0.0.1": "isl",
		"127.0.0.1": "s", "127.8.8.8": "s", "::1": "s", "::ffff:127.0.0.1": "s",
		"169.254.169.254": "l", "169.254.0.1": "l", "fe80::1": "l", "fe80::1%eth0": "l", "::ffff:169.254.169.254": "l",
		"64:ff9b::808:808": "pisl", "64:ff9b::a01:203": "isl", "64:ff9b:1::a01:203": "isl", "fec0::1": "isl",
		"64:ff9b::7f00:1": "s", "64:ff9b::a9fe:a9fe": "l", "64:ff9b::6464:64c8": "",
		"fd00:ec2::254": "", "fd20:ce::254": "", "100.100.100.200": "", "192.0.0.192": "", "168.63.129.16": "",
		"0.0.0.0": "", "::": "", "224.0.0.1": "", "ff02::1": "", "255.255.255.255": "",
	} {
		for _, home := range []struct {
			name string
			at   netip.Addr
		}{{"p", at("1.1.1.1")}, {"p", unknown}, {"i", at("10.9.9.9")}, {"s", at("127.0.0.1")}, {"s", at("::1")}, {"l", at("169.254.7.7")}} {
			if want := strings.Contains(from, home.name); mayReach(home.at, at(to)) != want {
				t.Errorf("from %s to %s: %v, want %v", home.at, to, !want, want)
			}
		}
	}
}

// Addresses that are given as such are refused before anything is dialled, by
// where the upstream is as far as that is known.
func TestLiteralAddresses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		upstream, recordUpstream string // where it was met; empty: not yet, or a proxy was
		to                       string
		ok                       bool
	}{
		{"https://registry-1.docker.io", "", "https://127.0.0.1/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://169.254.169.254/latest/meta-data", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://[::1]:5000/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://[::ffff:10.0.0.1]/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://100.64.0.1/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://1.0.0.1/x", true},
		{"https://registry-1.docker.io", "1.1.1.1", "https://2130706433/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://127.1/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://0x7f.0.0.1/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://127。0。0。1/x", false},
		{"https://registry-1.docker.io", "", "https://１０.0.0.１/x", false},
		{"https://registry-1.docker.io", "1.1.1.1", "https://s3.amazonaws.com/x", true},
		{"https://registry-1.docker.io", "1.1.1.1", "https://xn--bcher-kva.example/x", true},
		{"https://bücher.example", "", "https://bücher.example/x", true},
		{"https://harbor.corp", "10.0.0.1", "http://10.0.0.2:9000/x", true},
		{"https://harbor.corp", "10.0.0.1", "http://127.0.0.1:9000/x", false},
		{"https://harbor.corp", "10.0.0.1", "http://169.254.169.254/x", false},
		{"https://harbor.corp", "", "http://10.0.0.2:9000/x", false},
		{"https://10.0.0.1", "", "https://10.0.0.2/x", true},
		{"https://10.0.0.1", "", "https://10.0.0.1/x", true},
		{"http://localhost:5000", "", "http://127.0.0.1:5001/x", true},
		{"http://localhost:5000", "", "http://172.18.0.3:9000/x", true},
		{"http://168.63.129.16:5000", "", "http://168.63.129.16:5000/x", true},
	} {
		u, err := url.Parse(test.upstream)
		check(t, err)
		to, err := url.Parse(test.to)
		check(t, err)
		g := newGuard(u)
		if test.recordUpstream != "" {
			g.recordUpstream(&net.TCPAddr{IP: net.ParseIP(test.recordUpstream), Port: 443})
		}
		if err := g.checkLiteral(to); (err == nil) != test.ok || err != nil && !errors.Is(err, errPrivate) {
			t.Errorf("from %s at %q to %s: %v, want ok %v", test.upstream, test.recordUpstream, test.to, err, test.ok)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	address := listener.Addr().String()
	guardOf := func(upstream string) *guard {
		return newGuard(&url.URL{Scheme: "http", Host: upstream})
	}
	dial := func(g *guard, address string) error {
		d := &net.Dialer{ControlContext: g.control}
		conn, err := g.dial(t.Context(), d, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	public := guardOf("registry.example:443")
	if err := dial(public, address); !errors.Is(err, errPrivate) {
		t.Errorf("from a public upstream: %v, want %v", err, errPrivate)
	}
	public.proxies[address] = true
	check(t, dial(public, address))
	if public.home.IsValid() {
		t.Error("where a proxy is the upstream is held to be")
	}
	_, port, err := net.SplitHostPort(address)
	check(t, err)
	named := guardOf("ip6-localhost.example:" + port) // by name, as far as the guard knows
	named.upstream = "localhost:" + port
	check(t, dial(named, "localhost:"+port))
	check(t, dial(named, address)) // it was met at a private address, and leads to others
	trusted := context.WithValue(t.Context(), trustedKey{}, true)
	if err := public.control(trusted, "tcp", "127.0.0.1:1", nil); err != nil {
		t.Error(err)
	}
	if err := public.control(t.Context(), "tcp", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
	if err := public.control(t.Context(), "tcp", "nonsense", nil); err == nil {
		t.Error("an address that does not parse is let through")
	}
}

// Harbor by its name, and its MinIO by its address: the whole way, as a pull
// goes it. The names are those of this host, so both are at a private address.
func TestStorageAtALiteral(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	storage := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	registry := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+"/bucket?sig=1", http.StatusTemporaryRedirect)
	}))
	u, err := url.Parse(registry.URL)
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	t.Cleanup(transport.CloseIdleConnections)
	harbor := &url.URL{Scheme: "http", Host: "harbor.example:" + u.Port()}
	transport.guard = newGuard(harbor)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		d := &net.Dialer{ControlContext: transport.guard.control}
		if address != harbor.Host {
			return transport.guard.dial(ctx, d, network, address)
		}
		conn, err := d.DialContext(context.WithValue(ctx, trustedKey{}, true), network, u.Host) // what its DNS says
		if err == nil {
			transport.guard.recordUpstream(conn.RemoteAddr())
		}
		return conn, err
	}
	c := connectBy(t, harbor, transport)
	wantBlob(t, c, oci.FromBytes(content), len(content))
}

// A proxy would lead anywhere: what it is not asked for is not dialled here.
func TestLiteralBehindAProxy(t *testing.T) {
	t.Parallel()
	var asked []string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Host)
		if r.URL.Path != "/v2/" {
			http.Redirect(w, r, "http://10.0.0.1/blob", http.StatusTemporaryRedirect)
		}
	})
	u, err := url.Parse("http://harbor.example")
	check(t, err)
	through, err := url.Parse(proxy.URL)
	check(t, err)
	transport := NewTransport(TransportOptions{URL: u})
	t.Cleanup(transport.CloseIdleConnections)
	transport.Proxy = http.ProxyURL(through)
	transport.guard.proxies[hostPort(through)] = true
	c := connectBy(t, u, transport)
	_, err = read(t, c, blobRef(t, oci.FromBytes(nil)))
	c.wantCode(t, err, oci.Unavailable)
	if !errors.Is(err, errPrivate) || !strings.Contains(err.Error(), "NO_PROXY") {
		t.Errorf("%v does not say what to do", err)
	}
	for _, host := range asked {
		if host != "harbor.example" {
			t.Errorf("the proxy was asked for %s", host)
		}
	}
}

// The transport of a public upstream connects to nothing at home.
func TestPublicUpstreamReachesNoPrivateAddress(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	public, err := url.Parse("https://registry.example")
	check(t, err)
	transport := NewTransport(TransportOptions{URL: public})
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL()+"/v2/", nil)
	check(t, err)
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, errPrivate) || h.Counters().Requests != 0 {
		t.Errorf("error %v, %d requests; want %v, 0", err, h.Counters().Requests, errPrivate)
	}
}

func TestHostPort(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://a": "a:80", "https://a": "a:443", "https://a:1": "a:1", "http://[::1]": "[::1]:80", "socks5://p": "p:1080",
	} {
		u, err := url.Parse(address)
		check(t, err)
		if got := hostPort(u); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
