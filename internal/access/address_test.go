package access

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// trusted are the proxies of these tests.
var trusted = networks("10.0.0.0/8", "fd00::/8")

func TestClientAddress(t *testing.T) {
	for _, test := range []struct {
		name, peer        string
		forwarded, common []string
		want              string
	}{
		{"none", "10.0.0.1:1", nil, nil, "10.0.0.1"},
		{"stranger", "192.0.2.1:1", []string{"for=203.0.113.9"}, []string{"203.0.113.9"}, "192.0.2.1"},
		{"mapped", "[::ffff:10.0.0.1]:1", nil, []string{"203.0.113.9"}, "203.0.113.9"},
		{"with a zone", "[fe80::1%eth0]:1", nil, nil, "fe80::1"},
		{"a mapped client", "10.0.0.1:1", nil, []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"common", "10.0.0.1:1", nil, []string{"203.0.113.9"}, "203.0.113.9"},
		{"a chain", "10.0.0.1:1", nil, []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"two lines", "10.0.0.1:1", nil, []string{"198.51.100.1, 203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		{"with a port", "10.0.0.1:1", nil, []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{"IPv6", "[fd00::1]:1", nil, []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 with a port", "[fd00::1]:1", nil, []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"only proxies", "10.0.0.1:1", nil, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"what the client wrote is not parsed", "10.0.0.1:1", nil, []string{`gar"bage, ,, 203.0.113.9`}, "203.0.113.9"},
		{"malformed", "10.0.0.1:1", nil, []string{"203.0.113.9, garbage"}, "10.0.0.1"},
		{"malformed behind a proxy", "10.0.0.1:1", nil, []string{"unknown, 10.0.0.2"}, "10.0.0.1"},
		{"empty at the end", "10.0.0.1:1", nil, []string{"203.0.113.9,"}, "10.0.0.1"},
		{"standard", "10.0.0.1:1", []string{"for=203.0.113.9;proto=https;by=10.0.0.1"}, nil, "203.0.113.9"},
		{"standard, IPv6", "10.0.0.1:1", []string{`proto=http; FOR="[2001:db8::7]:4711"`}, nil, "2001:db8::7"},
		{"standard, chain", "10.0.0.1:1", []string{`for=198.51.100.1, for="203.0.113.9"`, "for=10.0.0.2"}, nil, "203.0.113.9"},
		{"standard, an open quote of the client", "10.0.0.1:1", []string{`for="198.51.100.1, for=203.0.113.9`}, nil, "203.0.113.9"},
		{"standard, hidden", "10.0.0.1:1", []string{"for=_secret"}, nil, "10.0.0.1"},
		{"standard, twice", "10.0.0.1:1", []string{"for=203.0.113.9;for=203.0.113.8"}, nil, "10.0.0.1"},
		{"standard, unquoted end", "10.0.0.1:1", []string{`for="203.0.113.9`}, nil, "10.0.0.1"},
		{"standard, without for", "10.0.0.1:1", []string{"proto=https"}, nil, "10.0.0.1"},
		{"both", "10.0.0.1:1", []string{"for=203.0.113.9"}, []string{"203.0.113.9"}, "203.0.113.9"},
		{"both, one from the client", "10.0.0.1:1", []string{"for=203.0.113.8"}, []string{"203.0.113.9"}, "10.0.0.1"},
		{"no address", "@", nil, []string{"203.0.113.9"}, "invalid IP"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr = test.peer
		r.Header["Forwarded"], r.Header["X-Forwarded-For"] = test.forwarded, test.common
		if got := clientAddress(r, trusted).String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A refused client is told which setting refuses it; deny comes first.
func TestNetworks(t *testing.T) {
	for _, test := range []struct {
		allow, deny []string
		address     string
		want        string // in the refusal; empty: served
	}{
		{nil, nil, "192.0.2.1:1", ""},
		{[]string{"192.0.2.0/24"}, nil, "192.0.2.1:1", ""},
		{[]string{"192.0.2.0/24"}, nil, "192.0.3.1:1", "192.0.3.1 may not use this mirror: it is in no network that clients.allow lists"},
		{[]string{"192.0.2.0/24"}, nil, "@", "clients.allow"},
		{[]string{"192.0.2.0/24"}, []string{"192.0.2.1/32"}, "192.0.2.1:1", "it is in 192.0.2.1/32, which clients.deny lists"},
		{nil, []string{"2001:db8::/32"}, "[2001:db8::1]:1", "clients.deny"},
		{nil, []string{"2001:db8::/32"}, "[2001:db9::1]:1", ""},
	} {
		gate := NewGate(GateOptions{Allow: networks(test.allow...), Deny: networks(test.deny...)})
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr = test.address
		client, err := ask(gate, nil, r)
		if (err == nil) != (test.want == "") || err != nil && (oci.CodeOf(err) != oci.Denied || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test, err, test.want)
		}
		if want, _ := parseNode(test.address); client.Address != want {
			t.Errorf("%+v: the client is %v", test, client)
		}
	}
}

// ask sends a request through the gate, and returns what it has found out.
func ask(gate *Gate, auth *Auth, r *http.Request) (client oci.Client, err error) {
	note := func(r *http.Request) { client = oci.ClientOf(r.Context()) }
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { note(r) })
	refuse := func(_ http.ResponseWriter, r *http.Request, refusal error) {
		note(r)
		err = refusal
	}
	gate.Handler(auth, next, refuse).ServeHTTP(httptest.NewRecorder(), r)
	return client, err
}

// What the mirror asks of itself is not reported.
func TestOwnRefusals(t *testing.T) {
	reported := 0
	gate := NewGate(GateOptions{
		Allow:   networks("192.0.2.0/24"),
		Own:     func(r *http.Request) bool { return r.UserAgent() == "own" },
		Refused: func(Refusal) { reported++ },
	})
	for agent, want := range map[string]int{"own": 0, "docker": 1} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("User-Agent", agent)
		reported = 0
		if _, err := gate.identify(r, nil); err == nil || reported != want {
			t.Errorf("%s: %v, reported %d times", agent, err, reported)
		}
	}
}
